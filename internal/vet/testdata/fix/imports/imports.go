// Package imports does not need some of its imports when it is mended.
package imports

import (
	"time"

	"github.com/perdure/perdure/workflow"
)

func helper(ctx workflow.Context) int64 { return time.Now().Unix() }
