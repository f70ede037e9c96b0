package web

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html"
	"net/http"
	"regexp"
	"strings"
)

// The UI shows summaries and details of workflows in frames whose pages it leaves to the server: text written by
// workflows, in Markdown. We turn the part of Markdown that such notes use into HTML and show the rest as it is written.
// Everything is escaped first, and the page may load and run nothing, so that a workflow cannot act in its reader's name.

//go:embed render.css
var renderStyle string

// renderText answers with a page for the query parameter content. theme (light or dark), overrideTheme, compact and
// inline choose its look.
func renderText(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	class := "page"
	if query.Get("compact") == "true" || query.Get("inline") == "true" {
		class = "compact"
	}
	theme := "light"
	if strings.HasPrefix(query.Get("theme"), "dark") {
		theme = "dark"
	}
	surface := "background"
	if query.Get("overrideTheme") == "primary" { // what the frame stands on
		surface = "primary"
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	sum := sha256.Sum256([]byte(renderStyle))
	h.Set("Content-Security-Policy", fmt.Sprintf("base-uri 'self'; default-src 'none'; style-src 'sha256-%s'; "+
		"frame-ancestors 'self'; form-action 'none'; sandbox allow-same-origin allow-popups allow-popups-to-escape-sandbox;",
		base64.StdEncoding.EncodeToString(sum[:])))
	_, _ = fmt.Fprintf(w, "<!doctype html>\n<html><head><meta charset=\"utf-8\"><title>Note</title>"+
		"<base target=\"_blank\"><style>%s</style></head><body class=\"%s %s %s\"><main>%s</main></body></html>\n",
		renderStyle, class, theme, surface, renderMarkdown(query.Get("content")))
}

var (
	blankLines = regexp.MustCompile(`\n[ \t]*\n`)
	heading    = regexp.MustCompile(`^(#{1,6})[ \t]+(.*)$`)
	bullet     = regexp.MustCompile(`^[ \t]*[-*+][ \t]+(.*)$`)
	numbered   = regexp.MustCompile(`^[ \t]*\d{1,9}[.)][ \t]+(.*)$`)
	quoted     = regexp.MustCompile(`^&gt; ?(.*)$`)

	codeSpan = regexp.MustCompile("`([^`]+)`")
	link     = regexp.MustCompile(`\[([^\]]+)\]\(((?:https?://|mailto:)[^\s)]+)\)`)
	strong   = regexp.MustCompile(`\*\*([^*]+)\*\*`)
	emphasis = regexp.MustCompile(`\*([^*\s][^*]*)\*`)
)

// renderMarkdown is text as HTML. Only what is put in here is markup: the text was escaped before anything else.
func renderMarkdown(text string) string {
	text = html.EscapeString(strings.ReplaceAll(text, "\r\n", "\n"))
	var out strings.Builder
	for i, part := range strings.Split(text, "```") {
		if i%2 == 1 { // between fences; the first line may name a language
			if _, code, ok := strings.Cut(part, "\n"); ok {
				part = code
			}
			out.WriteString("<pre><code>" + part + "</code></pre>")
			continue
		}
		for _, block := range blankLines.Split(part, -1) {
			if block = strings.Trim(block, "\n"); strings.TrimSpace(block) != "" {
				renderBlock(&out, strings.Split(block, "\n"))
			}
		}
	}
	return out.String()
}

// renderBlock writes lines that no empty line divides: runs of list items, of a quotation, or of plain text.
func renderBlock(out *strings.Builder, lines []string) {
	open := ""
	enter := func(tag string) {
		if tag == open {
			return
		}
		if open != "" {
			out.WriteString("</" + open + ">")
		}
		if tag != "" {
			out.WriteString("<" + tag + ">")
		}
		open = tag
	}
	for _, line := range lines {
		if m := heading.FindStringSubmatch(line); m != nil {
			enter("")
			fmt.Fprintf(out, "<h%d>%s</h%d>", len(m[1]), renderSpans(m[2]), len(m[1]))
		} else if m := bullet.FindStringSubmatch(line); m != nil {
			enter("ul")
			out.WriteString("<li>" + renderSpans(m[1]) + "</li>")
		} else if m := numbered.FindStringSubmatch(line); m != nil {
			enter("ol")
			out.WriteString("<li>" + renderSpans(m[1]) + "</li>")
		} else if m := quoted.FindStringSubmatch(line); m != nil {
			enter("blockquote")
			out.WriteString(renderSpans(m[1]) + "\n")
		} else {
			enter("p")
			out.WriteString(renderSpans(line) + "\n")
		}
	}
	enter("")
}

// renderSpans is one line. Code stays as it is; links, strong and emphasised text are looked for in the rest.
func renderSpans(line string) string {
	var out strings.Builder
	end := 0
	for _, m := range codeSpan.FindAllStringSubmatchIndex(line, -1) {
		out.WriteString(renderWords(line[end:m[0]]))
		out.WriteString("<code>" + line[m[2]:m[3]] + "</code>")
		end = m[1]
	}
	out.WriteString(renderWords(line[end:]))
	return out.String()
}

// renderWords leaves the addresses of links out of what is looked at for emphasis.
func renderWords(text string) string {
	emphasise := func(s string) string {
		return emphasis.ReplaceAllString(strong.ReplaceAllString(s, "<strong>$1</strong>"), "<em>$1</em>")
	}
	var out strings.Builder
	end := 0
	for _, m := range link.FindAllStringSubmatchIndex(text, -1) {
		out.WriteString(emphasise(text[end:m[0]]))
		fmt.Fprintf(&out, `<a href="%s" rel="noopener noreferrer">%s</a>`, text[m[4]:m[5]], emphasise(text[m[2]:m[3]]))
		end = m[1]
	}
	out.WriteString(emphasise(text[end:]))
	return out.String()
}
