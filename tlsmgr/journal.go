package tlsmgr

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/tlsmgr/cloudflare"
	"github.com/sallyport/sallyport/tlsmgr/storage"
)

// journalPrefix is where the storage keeps the records of the journal.
const journalPrefix = "journal"

// journal remembers the TXT records that we have made and not yet removed: one
// file each, so that adding one never rewrites another and a crash at any
// moment loses none.
type journal struct {
	store  *storage.Dir
	logger *zap.Logger
}

var _ cloudflare.Journal = journal{}

// Load returns every record. An entry that cannot be read is reported and left
// where it is.
func (j journal) Load(ctx context.Context) ([]cloudflare.Record, error) {
	keys, err := j.store.List(ctx, journalPrefix, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var records []cloudflare.Record
	for _, key := range keys {
		content, err := j.store.Load(ctx, key)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		var record cloudflare.Record
		if err := json.Unmarshal(content, &record); err != nil {
			j.logger.Warn("journal entry is damaged and ignored", zap.String("key", key), zap.Error(err))
			continue
		}
		records = append(records, record)
	}
	return records, nil
}

// Add remembers a record. It is on the disk when Add returns.
func (j journal) Add(ctx context.Context, record cloudflare.Record) error {
	content, err := json.Marshal(record)
	if err != nil {
		return err
	}
	return j.store.Store(ctx, journalKey(record), content)
}

// Remove forgets a record. One that is not there is no error.
func (j journal) Remove(ctx context.Context, record cloudflare.Record) error {
	return j.store.Delete(ctx, journalKey(record))
}

// journalKey is the same for the same record whenever it was made.
func journalKey(record cloudflare.Record) string {
	sum := sha256.Sum256([]byte(record.Zone + "\n" + record.Name + "\n" + record.Value))
	return journalPrefix + "/" + hex.EncodeToString(sum[:16]) + ".json"
}
