package sqlite

import (
	"strings"
	"sync"

	"github.com/sirupsen/logrus"
)

var once sync.Once

// keepValuesOut makes kine's log, which is logrus' one global logger, leave out the lines that show what was to be written:
// that may be a Secret. What failed and why is logged by this package.
func keepValuesOut() {
	once.Do(func() { logrus.SetFormatter(withoutValues{logrus.StandardLogger().Formatter}) })
}

// showValues begin the lines that carry a whole request.
var showValues = []string{"error in txn", "error in put"}

type withoutValues struct{ logrus.Formatter }

// Format implements logrus.Formatter. An empty line is none.
func (f withoutValues) Format(entry *logrus.Entry) ([]byte, error) {
	for _, begin := range showValues {
		if strings.HasPrefix(entry.Message, begin) {
			return nil, nil
		}
	}
	return f.Formatter.Format(entry)
}
