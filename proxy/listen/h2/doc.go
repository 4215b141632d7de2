// Package h2 serves HTTP/2.
package h2
