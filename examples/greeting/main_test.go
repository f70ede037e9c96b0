package main

import (
	"bytes"
	"context"
	"os"
	"testing"
	"time"
)

func TestOutput(t *testing.T) {
	want, err := os.ReadFile("testdata/output.txt")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var out bytes.Buffer
	if err := run(ctx, "", &out); err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Errorf("it printed\n%swant\n%s", &out, want)
	}
}
