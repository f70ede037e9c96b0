package main

import (
	"slices"
	"testing"
)

func TestStatementIDsComeFromTheStartOfATestName(t *testing.T) {
	for name, want := range map[string][]string{
		"TestS054SecondResponse":  {"S-54"},
		"TestM015_M016Close":      {"M-15", "M-16"},
		"TestS199S200_Both":       {"S-199", "S-200"},
		"TestSignalsAreBuffered":  nil,
		"TestM003":                {"M-3"},
		"TestStatementS12Inside":  nil,
		"TestM001_SignalS3Inside": {"M-1"},
	} {
		if got := statementIDs(name); !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}
