// Package cache is a shared HTTP cache in front of an action: RFC 9111, with
// stale-while-revalidate and stale-if-error (RFC 5861), conditional and range
// requests answered from what is stored (RFC 9110), and Cache-Status (RFC
// 9211) on every answer.
//
// What is stored sits in memory, bounded in bytes, and on disk too if a folder
// is given; otter decides what goes when there is no room. Concurrent misses
// for one resource become one request. Nothing is stored that belongs to one
// user: Set-Cookie is never kept, and what answers an authenticated request
// only if the response says that it may be shared.
//
// The package imports no engine and no configuration. A [Cache] owns the
// revalidations that it makes behind a client's back; Close waits for them.
//
//	c, err := cache.New(cache.Options{Name: "app.example.com", Size: 64 << 20, MaxObject: 4 << 20})
//	if err != nil {
//		return err
//	}
//	defer c.Close()
//	handler := c.Wrap(next)
package cache
