// Package target brings the path of a request into the one form in which it is
// matched and forwarded, and says how else it could be read.
//
// A proxy that decides by the path and an application that serves by it must
// not disagree about what the path is. Three things see to that:
//
// [Normalize] is applied once, before anything looks at the path, and its
// result is what is forwarded. Dot segments are resolved, percent-encoded ones
// (%2e) too; those that would leave the root are an error, and so are those
// that only some applications see: next to an encoded slash or a backslash
// (/a/..%2fb) or with a parameter (/..;/). A percent sign that begins no escape
// and an encoded NUL are errors. Everything else stays as it came, byte for
// byte.
//
// [Canonical] is what is matched: the normalised path, decoded, so that
// /%61dmin is /admin. Only %2F and %25 stay encoded, in that spelling: an
// encoded slash separates nothing.
//
// [Readings] are the canonical forms that applications make of a path in which
// there is something to disagree about: some drop parameters (/admin;x), some
// merge slashes (//admin), some decode %2F before they split the path, some take
// a backslash for a slash. Where they would lead to different routes the request
// has to be refused. A path without any of these has one reading, itself.
//
// [Check] and [Settle] do this for the target of a request: everything in the
// house that asks for a path asks after them.
//
// Nearly every path is [Plain]: then all of this is one look at its bytes, and
// the path is its own canonical form.
//
// The package imports nothing of the house but the record of requests, for the
// errors; it keeps no state.
//
//	if !target.Plain(path) {
//		if path, err = target.Normalize(path, false); err != nil {
//			return err
//		}
//		for reading := range target.Readings(path, target.Habits{}) { … }
//	}
package target
