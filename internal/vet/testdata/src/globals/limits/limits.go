// Package limits has variables.
package limits

var Max = 3

var Fixed = 4

func Raise() { Max++ }
