package config

import (
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// firstToken returns the token at which a node begins. (A mapping's own token
// is its first colon.)
func firstToken(n ast.Node) *token.Token {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return firstToken(n.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return firstToken(n.Key)
	}
	return n.GetToken()
}

// entries returns the entries of a mapping node.
func entries(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}

// keyText returns the text of a key, and whether it is a plain one. Numbers and
// words such as true are taken as they are written.
func keyText(key ast.MapKeyNode) (text string, plain bool) {
	switch key := key.(type) {
	case *ast.StringNode:
		return strings.ReplaceAll(key.Value, string(star), "*"), true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return key.GetToken().Value, true
	}
	return "", false
}

// scalarText returns the text of a scalar as it is written, without quotes.
func scalarText(n ast.Node) (text string, ok bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return strings.ReplaceAll(n.Value, string(star), "*"), true
	case *ast.LiteralNode:
		if n.Value == nil {
			return "", true
		}
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// hideByTree hides the lines of every value whose key sounds secret, and of
// every text that spans lines or looks like a token. end is the last line that
// can belong to the node, parent the key that it stands under.
func (s *source) hideByTree(n ast.Node, parent string, end int) {
	switch n := n.(type) {
	case *ast.SequenceNode:
		for i, item := range n.Values {
			last := end
			if i+1 < len(n.Values) {
				last, _ = startOf(firstToken(n.Values[i+1]))
				if !n.IsFlowStyle {
					last-- // each item has lines of its own
				}
			}
			s.hideByTree(item, parent, last)
		}
		return
	case *ast.AnchorNode:
		s.hideByTree(n.Value, parent, end)
		return
	case *ast.TagNode:
		s.hideByTree(n.Value, parent, end)
		return
	case *ast.LiteralNode:
		line, _ := startOf(n.GetToken())
		s.hide(line, end)
		return
	}
	if list, ok := entries(n); ok {
		s.hideEntries(list, parent, end)
		return
	}
	if text, ok := scalarText(n); ok {
		first, _ := startOf(n.GetToken())
		lines := strings.Count(strings.TrimSpace(n.GetToken().Origin), "\n")
		if lines > 0 || !s.printable(text) {
			s.hide(first, first+lines)
		}
	}
}

// hideEntries is hideByTree for the entries of a mapping.
func (s *source) hideEntries(list []*ast.MappingValueNode, parent string, end int) {
	for i, entry := range list {
		first, column := startOf(firstToken(entry.Key))
		last := end
		if i+1 < len(list) {
			// In a block the next key's line is not this entry's any more; in
			// { } it may be.
			line, beside := startOf(firstToken(list[i+1].Key))
			last = line
			if last > first && beside == column {
				last--
			}
		}
		key, plain := keyText(entry.Key)
		if !plain || s.soundsSecret(key, !plainKey(parent)) {
			s.hide(first, last)
			continue
		}
		if parent == "rate_limits" {
			key = "rate_limit" // the name that stands there says nothing
		}
		s.hideByTree(entry.Value, key, last)
	}
}

// plainKey reports whether `key` under another key is no secret: a file's name,
// or what requests are counted by.
func plainKey(parent string) bool {
	return parent == "tls" || parent == "rate_limit" || parent == "max_connections"
}
