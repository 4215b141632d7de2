package mount

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestStorageThatDoesNotOutliveAContainerIsRecognised(t *testing.T) {
	const inside = `741 735 0:54 / / rw,relatime - overlay overlay rw,lowerdir=/a:/b
742 741 0:57 / /proc rw,nosuid - proc proc rw
743 741 8:1 /volumes/state/_data /var/lib/sallyport rw,relatime master:1 - ext4 /dev/sda1 rw
744 741 0:60 / /run/my\040state rw - tmpfs tmpfs rw
`
	for path, want := range map[string]string{
		"/var/lib/sallyport": "", "/var/lib/sallyport/x": "", "/var/lib/sallyport2": "container's own layer", "/var/lib": "container's own layer",
		"/run/my state": "in memory", "/run/my state/a": "in memory", "/run/my": "container's own layer",
	} {
		if got := ephemeral(inside, path); (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	if got := ephemeral("22 1 8:2 / / rw - ext4 /dev/sda2 rw\n", "/var/lib/sallyport"); got != "" {
		t.Errorf("a plain machine: %q", got)
	}
	if got := ephemeral("22 1 8:2 / / rw - overlay o rw\n23 1 8:2 / / rw - ext4 /dev/sda2 rw\n", "/x"); got != "" {
		t.Errorf("a mount that is covered counts: %q", got)
	}
}

func TestAFileThatWasReplacedUnderItsMountIsTold(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sallyport.yaml")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	mounts := filepath.Join(dir, "mountinfo")
	write := func(root string) {
		t.Helper()
		if err := os.WriteFile(mounts, fmt.Appendf(nil, "22 1 0:20 / / rw - overlay overlay rw\n36 35 98:0 %s %s rw - ext4 /dev/root rw\n", root, path), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("/srv/conf/sallyport.yaml")
	if got := stale(path, mounts); got != "" {
		t.Errorf("a good one: %q", got)
	}
	write("/srv/conf/sallyport.yaml//deleted")
	if got := stale(path, mounts); !strings.Contains(got, "replaced") {
		t.Errorf("a replaced one: %q", got)
	}
	if got := stale(path, "/nonexistent"); got != "" {
		t.Errorf("without /proc: %q", got)
	}
}
