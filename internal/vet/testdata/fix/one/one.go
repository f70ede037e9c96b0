// Package one has a single import.
package one

import "github.com/perdure/perdure/workflow"

func each(ctx workflow.Context, m map[string]int) {
	for k, v := range m {
		workflow.Logger(ctx).Info(k, "v", v)
	}
}
