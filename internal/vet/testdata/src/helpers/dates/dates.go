// Package dates is used by workflows, but knows nothing of them.
package dates

import (
	"os"
	"time"

	"github.com/perdure/perdure/internal/vet/testdata/src/helpers/dates/deep"
)

type Calendar struct{ Zone string }

func (c *Calendar) Today() string { return stamp().Format(time.DateOnly) }

func stamp() time.Time { return time.Now() }

func Format(t time.Time) string { return t.Format(time.DateOnly) }

func Home() string {
	return os.Getenv("HOME") //perdure:allow io the same on all workers
}

func Deep() { deep.Roll() }
