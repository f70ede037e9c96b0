// Package validator has validators of nothing.
package validator

import "github.com/perdure/perdure/workflow"

type Form struct{ n int }

func (f *Form) Run(workflow.Context) error                               { return nil }
func (f *Form) SetLanguage(_ workflow.Context, l string) (string, error) { return l, nil }
func (f *Form) ValidateSetLangage(workflow.ReadContext, string) error    { return nil } // want `^validator: ValidateSetLangage has no update SetLangage to validate; is ValidateSetLanguage meant\?$`
func (f *Form) Submit(workflow.Context, int)                             {}
func (f *Form) ValidateSubmit(workflow.ReadContext, int) error           { return nil } // want `^validator: ValidateSubmit has no update Submit to validate: Submit is a signal$`
func (f *Form) Grow(_ workflow.Context, n int) (int, error)              { return n, nil }
func (f *Form) ValidateGrow(workflow.ReadContext, string) error          { return nil } // want `^validator: ValidateGrow has to take what Grow takes after the context$`
func (f *Form) Save(workflow.Context, int) error                         { return nil }
func (f *Form) ValidateSave(workflow.ReadContext, int) error             { return nil }
func (f *Form) Validated(workflow.ReadContext) (bool, error)             { return true, nil }

func (f *Form) Touch(_ workflow.Context, name string, args workflow.Args) (int, error) { return 0, nil }
func (f *Form) ValidateTouch(workflow.ReadContext, string, workflow.Args) error        { return nil }
