package supervisor

import (
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
)

// wantedLimits are ceilings of the machine that many control planes on it would hit: each API server watches a dozen
// files, and the default allows 128 watchers per user. They are raised, never lowered, and cost nothing until used.
var wantedLimits = map[string]int{
	"/proc/sys/fs/inotify/max_user_instances": 8192,
	"/proc/sys/fs/inotify/max_user_watches":   524288,
}

// raiseLimits does what it can: on a machine that does not allow it, the first hosts work.
func raiseLimits(logger *slog.Logger) {
	for path, wanted := range wantedLimits {
		if err := raiseLimit(path, wanted); err != nil {
			logger.Warn("Could not raise a limit of the machine; many virtual clusters may need it", "limit", path, "wanted", wanted, "error", err)
		}
	}
}

func raiseLimit(path string, wanted int) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	current, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		return fmt.Errorf("read the limit %s: %w", path, err)
	}
	if current >= wanted {
		return nil
	}
	return os.WriteFile(path, []byte(strconv.Itoa(wanted)), 0)
}
