// Package balance chooses among the servers of an upstream.
//
// A [Node] is one server as balancing sees it: a weight, the requests under
// way, and a slow start. A [Picker] chooses one of those that the caller allows
// for this request, a [Set]; who is healthy, full or was tried already is the
// caller's business. Picking allocates nothing and takes no lock, except for
// round robin, whose turn is shared.
//
// The package imports no other room. Nodes belong to whoever made them and
// may be shared by several pickers; a picker owns nothing but its turn.
//
//	nodes := []*balance.Node{balance.NewNode("http://a:80", 1), balance.NewNode("http://b:80", 3)}
//	picker := balance.New(balance.RandomTwo, nodes)
//	i := picker.Pick(balance.All(len(nodes)), balance.NoKey)
//	nodes[i].Begin()
//	defer nodes[i].End()
package balance
