// Package deep is two imports away from a workflow.
package deep

import "math/rand/v2"

func Roll() int { return rand.IntN(6) }
