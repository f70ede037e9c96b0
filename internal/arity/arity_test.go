package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestWhatIsCheckedInIsWhatTheGeneratorWrites(t *testing.T) {
	for pkg := range templates {
		want, err := Source(pkg)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join("..", "..", pkg, "arity.go"))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s/arity.go is not up to date: go run ./internal/arity", pkg)
		}
	}
}
