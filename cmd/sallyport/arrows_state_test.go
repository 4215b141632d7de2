package main_test

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// checkState finds package-level variables that are not constants in all but
// name. A variable may be an interface guard, a sentinel error, or a value that
// is made of literals and of calls known to return something that never
// changes; and nobody, tests included, may assign to it, to a part of it, or
// take its address.
func checkState(h *house) (breaches []string) {
	for source := range h.sources {
		if source.path == http2Switch {
			continue
		}
		if !source.test() && source.path != pebbleSettings {
			breaches = append(breaches, source.declaredState()...)
		}
		breaches = append(breaches, source.writtenState()...)
	}
	return breaches
}

// http2Switch is the file that names a variable of x/net's which can be set in
// no other way by a process without an environment; it is written before main.
const http2Switch = "proxy/listen/http2.go"

// declaredState lists the declarations that hold more than a constant.
func (s *houseSource) declaredState() (breaches []string) {
	for _, declaration := range s.tree.Decls {
		group, ok := declaration.(*ast.GenDecl)
		if !ok || group.Tok != token.VAR {
			continue
		}
		for _, each := range group.Specs {
			spec := each.(*ast.ValueSpec)
			if spec.Names[0].Name == "_" && spec.Type != nil {
				continue // var _ Interface = T{}
			}
			at := s.at(spec.Pos()) + ": var " + spec.Names[0].Name
			if len(spec.Values) == 0 && !s.fixedWithoutValue(group, spec) {
				breaches = append(breaches, at+" has no value, so it must be meant to change")
			}
			for i, value := range spec.Values {
				if pointer, ok := value.(*ast.UnaryExpr); ok && pointer.Op == token.AND && sentinelName(spec.Names[i].Name) {
					value = pointer.X // a pointer, so that no two such errors are equal
				}
				if !s.fixed(value, false) {
					breaches = append(breaches, at+" is not made of literals and of what never changes")
				}
			}
		}
	}
	return breaches
}

// sentinelName reports whether a variable is named as an error is.
func sentinelName(name string) bool {
	return strings.HasPrefix(name, "err") || strings.HasPrefix(name, "Err")
}

// fixedWithoutValue accepts what the toolchain fills in: an embedded file, or
// a string that the linker sets.
func (s *houseSource) fixedWithoutValue(group *ast.GenDecl, spec *ast.ValueSpec) bool {
	for _, doc := range []*ast.CommentGroup{group.Doc, spec.Doc} {
		if doc != nil && strings.HasPrefix(doc.List[len(doc.List)-1].Text, "//go:embed ") {
			return true
		}
	}
	name, ok := spec.Type.(*ast.Ident)
	return ok && name.Name == "string"
}

// makers lists functions whose results never change.
var makers = map[string][]string{
	"errors":        {"New"},
	"fmt":           {"Errorf"},
	"regexp":        {"MustCompile"},
	"strings":       {"NewReplacer"},
	"net/netip":     {"MustParseAddr", "MustParsePrefix", "MustParseAddrPort", "AddrFrom4", "AddrFrom16", "PrefixFrom"},
	"reflect":       {"TypeFor", "TypeOf"},
	"html/template": {"Must"},
	"text/template": {"Must"},
}

// fixed reports whether a value is made of literals and of what never changes.
// Inside a table (nested) functions and other packages' values may be named;
// on their own they would be hooks, made to be replaced.
func (s *houseSource) fixed(value ast.Expr, nested bool) bool {
	switch v := value.(type) {
	case nil, *ast.BasicLit:
		return true
	case *ast.FuncLit, *ast.SelectorExpr:
		return nested
	case *ast.Ident:
		_, function := s.unit.info.Uses[v].(*types.Func)
		return nested || !function
	case *ast.ParenExpr:
		return s.fixed(v.X, nested)
	case *ast.BinaryExpr:
		return s.fixed(v.X, true) && s.fixed(v.Y, true)
	case *ast.UnaryExpr:
		return (v.Op != token.AND || nested) && v.Op != token.ARROW && s.fixed(v.X, nested)
	case *ast.IndexExpr:
		return s.fixed(v.X, nested) && s.fixed(v.Index, true)
	case *ast.KeyValueExpr:
		return s.fixed(v.Key, true) && s.fixed(v.Value, true)
	case *ast.CompositeLit:
		return !s.shares(v.Type) && !slices.ContainsFunc(v.Elts, func(e ast.Expr) bool { return !s.fixed(e, true) })
	case *ast.CallExpr:
		return s.fixedCall(v)
	default:
		return false
	}
}

// fixedCall accepts the makers and conversions.
func (s *houseSource) fixedCall(call *ast.CallExpr) bool {
	converted := len(call.Args) == 1 && s.fixed(call.Args[0], true)
	switch f := call.Fun.(type) {
	case *ast.ArrayType:
		return converted
	case *ast.Ident:
		_, conversion := s.unit.info.Uses[f].(*types.TypeName)
		return conversion && converted
	case *ast.IndexExpr: // reflect.TypeFor[T]()
		return s.fixedCall(&ast.CallExpr{Fun: f.X, Args: call.Args})
	case *ast.SelectorExpr:
		return slices.Contains(makers[s.packageOf(f)], f.Sel.Name)
	default:
		return false
	}
}

// shares reports whether a type is one of package sync's or sync/atomic's,
// which exist to be changed.
func (s *houseSource) shares(kind ast.Expr) (found bool) {
	if kind == nil {
		return false
	}
	ast.Inspect(kind, func(node ast.Node) bool {
		if selector, ok := node.(*ast.SelectorExpr); ok {
			imported := s.packageOf(selector)
			found = found || imported == "sync" || imported == "sync/atomic"
		}
		return true
	})
	return found
}

// writtenState lists the places where a file changes a package-level variable
// of its package, or of another package of the house.
func (s *houseSource) writtenState() (breaches []string) {
	report := func(target ast.Expr, how string) {
		if name := s.variable(target); name != "" {
			breaches = append(breaches, s.at(target.Pos())+": "+how+" package-level variable "+name)
		}
	}
	ast.Inspect(s.tree, func(node ast.Node) bool {
		switch n := node.(type) {
		case *ast.AssignStmt:
			for _, target := range n.Lhs {
				report(target, "assigns to")
			}
		case *ast.IncDecStmt:
			report(n.X, "assigns to")
		case *ast.RangeStmt:
			if n.Tok == token.ASSIGN {
				report(n.Key, "assigns to")
				report(n.Value, "assigns to")
			}
		case *ast.UnaryExpr:
			if n.Op == token.AND {
				report(n.X, "takes the address of")
			}
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.Ident); ok && slices.Contains([]string{"delete", "clear", "copy"}, f.Name) && len(n.Args) > 0 {
				report(n.Args[0], "changes")
			}
		}
		return true
	})
	return breaches
}

// variable returns the name of the package-level variable, declared outside
// tests, that an expression is or is a part of; else "".
func (s *houseSource) variable(expr ast.Expr) string {
	switch e := expr.(type) {
	case *ast.Ident:
		object, ok := s.unit.info.Uses[e].(*types.Var)
		if ok && object.Parent() == s.unit.scope && !strings.HasSuffix(s.set.Position(object.Pos()).Filename, "_test.go") {
			return e.Name
		}
		return ""
	case *ast.SelectorExpr:
		if imported := s.packageOf(e); within(imported, houseModule) {
			return imported + "." + e.Sel.Name
		}
		return s.variable(e.X)
	case *ast.IndexExpr:
		return s.variable(e.X)
	case *ast.SliceExpr:
		return s.variable(e.X)
	case *ast.StarExpr:
		return s.variable(e.X)
	case *ast.ParenExpr:
		return s.variable(e.X)
	default:
		return ""
	}
}
