package cache

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strings"
	"sync/atomic"

	"github.com/maypok86/otter/v2"
)

// disk keeps responses in files, one a resource, named by the hash of its key.
// The files are the truth: an index knows names and sizes, is made anew from
// the folder at start, and decides what goes. A file is written beside its
// place and renamed into it, and has a checksum, so that a half-written one is
// never served; an error of the file system means no more than a miss.
type disk struct {
	root  *os.Root
	index *otter.Cache[string, int64] // by file name: size
	most  int64                       // of one file
	turn  atomic.Uint64               // for names of unfinished files
}

const (
	diskSuffix     = ".cache"
	unfinishedMark = ".part"
)

// record is what precedes each body in a file.
type record struct {
	Key      string `json:"key"`
	Entry    *entry `json:"entry"`
	Length   int    `json:"length"`
	Checksum uint32 `json:"checksum"` // CRC-32C of the body
}

// openDisk makes the folder if need be and takes in what is there.
func openDisk(folder string, size, object int64) (*disk, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("making the cache's folder: %w", err)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, fmt.Errorf("opening the cache's folder: %w", err)
	}
	d := &disk{root: root, most: mostVariants * (object + 64<<10)}
	d.index, err = otter.New(&otter.Options[string, int64]{
		MaximumWeight: uint64(size),
		Weigher:       func(_ string, bytes int64) uint32 { return uint32(min(bytes+512, 1<<31)) },
		Executor:      func(task func()) { task() },
		Logger:        &otter.NoopLogger{},
		OnDeletion: func(e otter.DeletionEvent[string, int64]) {
			if e.Cause != otter.CauseReplacement {
				_ = root.Remove(e.Key) // gone already, or found again at the next start
			}
		},
	})
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	if err := d.takeIn(); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return d, nil
}

// takeIn fills the index from the folder, and removes what a crash left
// unfinished.
func (d *disk) takeIn() error {
	folder, err := d.root.Open(".")
	if err != nil {
		return fmt.Errorf("reading the cache's folder: %w", err)
	}
	defer folder.Close()
	for {
		list, err := folder.ReadDir(1024)
		for _, file := range list {
			name := file.Name()
			switch {
			case strings.HasSuffix(name, diskSuffix+unfinishedMark):
				_ = d.root.Remove(name)
			case strings.HasSuffix(name, diskSuffix):
				if info, err := file.Info(); err == nil && info.Mode().IsRegular() {
					d.index.Set(name, info.Size())
				}
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the cache's folder: %w", err)
		}
	}
}

func fileName(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:]) + diskSuffix
}

// load returns what the disk has for a key, nil if nothing.
func (d *disk) load(key string) variants {
	name := fileName(key)
	if _, ok := d.index.GetIfPresent(name); !ok {
		return nil
	}
	found, err := d.read(name, key)
	if err != nil {
		d.index.Invalidate(name)
		return nil
	}
	return found
}

func (d *disk) read(name, key string) (variants, error) {
	file, err := d.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	in := bufio.NewReader(io.LimitReader(file, d.most))
	var found variants
	for {
		head, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(head) == 0 {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		var stored record
		if err := json.Unmarshal(head, &stored); err != nil {
			return nil, err
		}
		if stored.Key != key || stored.Entry == nil || stored.Length < 0 || int64(stored.Length) > d.most || len(stored.Entry.Vary) != len(stored.Entry.Chosen) {
			return nil, errDamaged
		}
		stored.Entry.body = make([]byte, stored.Length)
		if _, err := io.ReadFull(in, stored.Entry.body); err != nil {
			return nil, err
		}
		if crc32.Checksum(stored.Entry.body, crc32.MakeTable(crc32.Castagnoli)) != stored.Checksum {
			return nil, errDamaged
		}
		found = append(found, stored.Entry)
	}
}

var errDamaged = errors.New("the file is damaged")

// save writes all that is stored for a key. What cannot be written is not
// there: it is still in memory.
func (d *disk) save(key string, all variants) {
	var content bytes.Buffer
	for _, e := range all {
		head, err := json.Marshal(record{key, e, len(e.body), crc32.Checksum(e.body, crc32.MakeTable(crc32.Castagnoli))})
		if err != nil {
			return
		}
		content.Write(head)
		content.WriteByte('\n')
		content.Write(e.body)
	}
	name := fileName(key)
	unfinished := fmt.Sprintf("%s-%d%s", name[:16], d.turn.Add(1), diskSuffix+unfinishedMark)
	err := d.root.WriteFile(unfinished, content.Bytes(), 0o600)
	if err == nil {
		err = d.root.Rename(unfinished, name)
	}
	if err != nil {
		_ = d.root.Remove(unfinished)
		d.index.Invalidate(name) // an older one must not come back
		return
	}
	d.index.Set(name, int64(content.Len()))
}

// remove forgets a key, and reports whether it was there.
func (d *disk) remove(key string) bool {
	_, had := d.index.Invalidate(fileName(key))
	return had
}

// keys reads the key of each file.
func (d *disk) keys() []string {
	var keys []string
	for name := range d.index.Keys() {
		file, err := d.root.Open(name)
		if err != nil {
			continue
		}
		var stored record
		if head, err := bufio.NewReader(io.LimitReader(file, 1<<20)).ReadBytes('\n'); err == nil && json.Unmarshal(head, &stored) == nil {
			keys = append(keys, stored.Key)
		}
		_ = file.Close()
	}
	return keys
}

func (d *disk) close() { _ = d.root.Close() }
