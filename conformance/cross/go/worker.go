package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

// work runs a worker for Basket until the process is asked to end.
func work(c client.Client, queue string) error {
	w := worker.New(c, queue, worker.Options{})
	w.RegisterWorkflowWithOptions(runBasket, workflow.RegisterOptions{Name: "Basket"})
	if err := w.Start(); err != nil {
		return err
	}
	defer w.Stop()
	fmt.Println("working")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	<-ctx.Done()
	return nil
}

type (
	// BasketInput is what a basket starts with.
	BasketInput struct {
		Owner string `json:"owner"`
	}
	// Goods come with a signal and with an update.
	Goods struct {
		Name  string   `json:"name"`
		Count int      `json:"count"`
		Tags  []string `json:"tags"`
	}
	// Left is the answer to taking something out.
	Left struct {
		Name string `json:"name"`
		Left int    `json:"left"`
	}
	// Summary is what is in a basket.
	Summary struct {
		Owner string         `json:"owner"`
		Goods map[string]int `json:"goods"`
		Note  *string        `json:"note"`
	}
	// BasketResult is what a basket ends with.
	BasketResult struct {
		Owner string   `json:"owner"`
		Lines []string `json:"lines"`
	}
)

type basket struct {
	owner   string
	lines   []string
	goods   map[string]int
	note    *string
	spilled error
	closed  bool
}

func runBasket(ctx workflow.Context, in BasketInput) (BasketResult, error) {
	b := &basket{owner: in.Owner, lines: []string{}, goods: map[string]int{}}
	if err := b.listen(ctx); err != nil {
		return BasketResult{}, err
	}
	if err := workflow.Await(ctx, func() bool { return b.closed || b.spilled != nil }); err != nil {
		return BasketResult{}, err
	}
	return BasketResult{Owner: b.owner, Lines: b.lines}, b.spilled
}

// listen sets all handlers of the object.
func (b *basket) listen(ctx workflow.Context) error {
	onSignal(ctx, "touch", func(several) error { b.say("touch"); return nil })
	onSignal(ctx, "remark", func(args several) error {
		var text string
		if err := args.into(&text); err != nil {
			return err
		}
		b.note = &text
		b.say("remark %s", text)
		return nil
	})
	onSignal(ctx, "put", func(args several) error {
		var goods Goods
		if err := args.into(&goods); err != nil {
			return err
		}
		b.put(goods)
		return nil
	})
	onSignal(ctx, "move", func(args several) error {
		var name string
		var steps int
		var left bool
		if err := args.into(&name, &steps, &left); err != nil {
			return err
		}
		b.say("move %s %d %t", name, steps, left)
		return nil
	})
	onSignal(ctx, "spill", func(args several) error {
		var where string
		var height int
		if err := args.into(&where, &height); err != nil {
			return err
		}
		b.spilled = temporal.NewNonRetryableApplicationError("spilled "+where, "Spilled", nil, height)
		return nil
	})
	onSignal(ctx, "close", func(several) error { b.closed = true; return nil })
	return errors.Join(
		workflow.SetQueryHandler(ctx, "lines", func() ([]string, error) { return b.lines, nil }),
		workflow.SetQueryHandler(ctx, "has", func(name string, count int) (bool, error) { return b.goods[name] >= count, nil }),
		workflow.SetQueryHandler(ctx, "summary", func() (Summary, error) { return Summary{b.owner, b.goods, b.note}, nil }),
		workflow.SetQueryHandler(ctx, "weigh", func() (int, error) { return 0, errors.New("the scale is broken") }),
		workflow.SetUpdateHandlerWithOptions(ctx, "take", b.take, workflow.UpdateHandlerOptions{Validator: b.checkTake}),
		workflow.SetUpdateHandler(ctx, "fill", func(_ workflow.Context, goods Goods) error { b.put(goods); return nil }),
		workflow.SetUpdateHandler(ctx, "wait_for_lines", b.waitForLines),
	)
}

func (b *basket) say(format string, args ...any) {
	b.lines = append(b.lines, fmt.Sprintf(format, args...))
}

func (b *basket) put(goods Goods) {
	b.goods[goods.Name] += goods.Count
	b.say("put %s %d [%s]", goods.Name, goods.Count, strings.Join(goods.Tags, " "))
}

func (b *basket) checkTake(_ workflow.Context, _ string, count int) error {
	if count <= 0 {
		return temporal.NewApplicationError(fmt.Sprintf("the count has to be positive, not %d", count), "BadCount")
	}
	return nil
}

func (b *basket) take(_ workflow.Context, name string, count int) (Left, error) {
	if have := b.goods[name]; have < count {
		return Left{}, temporal.NewApplicationError(fmt.Sprintf("only %d of %s", have, name), "NotEnough", Left{name, have})
	}
	b.goods[name] -= count
	return Left{name, b.goods[name]}, nil
}

func (b *basket) waitForLines(ctx workflow.Context, count int) ([]string, error) {
	err := workflow.Await(ctx, func() bool { return len(b.lines) >= count })
	return b.lines, err
}

// onSignal calls handle with each signal of that name. A signal that cannot be decoded fails the workflow task.
func onSignal(ctx workflow.Context, name string, handle func(several) error) {
	channel := workflow.GetSignalChannel(ctx, name)
	workflow.Go(ctx, func(ctx workflow.Context) {
		for {
			var args several
			channel.Receive(ctx, &args)
			if err := handle(args); err != nil {
				panic(fmt.Errorf("signal %s: %w", name, err))
			}
		}
	})
}
