// Package random rolls dice.
package random

import (
	crypto "crypto/rand"
	"hash/maphash"
	old "math/rand"
	"math/rand/v2"

	"github.com/google/uuid"

	"github.com/perdure/perdure/workflow"
)

type Dice struct{ id string }

func (d *Dice) Run(ctx workflow.Context) error {
	_ = rand.IntN(6)                                   // want `^random: rand.IntN gives another number on replay; use workflow.Rand\(ctx\)$`
	_ = rand.N(6)                                      // want `^random: rand.N`
	old.Shuffle(2, func(int, int) {})                  // want `^random: rand.Shuffle`
	_, _ = crypto.Read(make([]byte, 8))                // want `^random: rand.Read gives other bytes`
	_ = crypto.Reader                                  // want `^random: rand.Reader`
	_ = uuid.New()                                     // want `^random: uuid.New gives another ID`
	d.id = uuid.NewString()                            // want `^random: uuid.NewString`
	_ = uuid.Must(uuid.NewV7())                        // want `^random: uuid.NewV7`
	_ = maphash.String(maphash.MakeSeed(), "x")        // want `maphash.String` `maphash.MakeSeed`
	_ = uuid.NewSHA1(uuid.NameSpaceURL, []byte(d.id))  // the same for the same name
	_ = rand.New(rand.NewPCG(1, 2)).IntN(6)            // the same for the same seed
	_ = old.New(old.NewSource(1)).Intn(6)              //
	_ = workflow.Rand(ctx).IntN(6)                     //
	_, err := workflow.SideEffect(ctx, uuid.NewString) // recorded
	return err
}
