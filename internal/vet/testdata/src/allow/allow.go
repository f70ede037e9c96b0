// Package allow knows better.
package allow

import (
	"time"

	"github.com/perdure/perdure/workflow"
)

type Allowed struct{ t time.Time }

func (a *Allowed) Run(ctx workflow.Context) error {
	a.t = time.Now() //perdure:allow clock only shown to people
	//perdure:allow clock only shown to people
	a.t = time.Now()
	// What follows is fine.
	//perdure:allow clock only shown to people
	// Really.
	a.t = time.Now()
	a.t = time.Now() // want `^clock`
	//perdure:allow random it is not what is allowed
	a.t = time.Now()                  // want `^clock`
	a.t = time.Now().Add(time.Second) //perdure:allow clock only for its own line
	a.t = time.Now()                  // want `^clock`
	a.helper()
	return nil
}

func (a *Allowed) helper() {
	a.t = time.Now() //perdure:allow clock only shown to people
}

/* want `^allow: //perdure:allow has to give a reason after the rule$` */ //perdure:allow clock
/* want `^allow: //perdure:allow has to name a rule: clock, random,` */ //perdure:allow time what is that
/* want `^allow: //perdure:allow has to name a rule` */ //perdure:allow
//perdure:allowed is something else
