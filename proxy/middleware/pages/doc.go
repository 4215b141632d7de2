// Package pages answers failures, and everything while a site is being worked
// on, with pages of the site's own.
//
// [Pages] has a file for a status (404), a class of them (5xx) or all others
// (default). A file with "{{" in it is a template, of html/template if it is
// HTML: {{.Status}}, {{.Text}} (Not Found), {{.RequestID}} and {{.Host}} stand
// in it. [Maintenance] answers 503 as long as a file exists.
//
// Files are read again when they change, without a reload; one that has become
// bad leaves what was read before in force. Nothing runs in the background:
// files are looked at when they are needed, at most once a second.
//
// The package imports neither config nor what refuses: it is asked for a page
// through [exchange.Exchange].
//
//	own, err := pages.New(pages.Options{Files: []pages.File{{Status: "404", Path: "/srv/404.html"}}}, report)
//	if err != nil {
//		return err
//	}
//	handler = own.Wrap(handler)
package pages
