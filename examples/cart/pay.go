package main

import (
	"context"
	"fmt"

	"github.com/perdure/perdure/failure"
)

// Payment is the argument of Pay. More fields can come later.
type Payment struct {
	Card  string
	Cents int
}

// Pay is an activity. A card that is declined now is declined again, so that error ends the attempts.
func Pay(_ context.Context, p Payment) (string, error) {
	if p.Card == "stolen" {
		return "", failure.NonRetryable("the card is declined", "Declined", nil)
	}
	return fmt.Sprintf("%d.%02d by %s", p.Cents/100, p.Cents%100, p.Card), nil
}
