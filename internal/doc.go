// Package internal holds no code: only the tests of rules that concern all packages below it.
package internal
