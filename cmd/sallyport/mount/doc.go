// Package mount knows what the table of mounts says about a path: whether a
// file was replaced outside of the mount that shows it, and whether what is
// written there outlives a container. It imports no other room, keeps nothing
// and starts nothing.
//
//	if why := mount.Stale("/etc/sallyport/sallyport.yaml"); why != "" {
//		logger.Warn(why, zap.String("hint", mount.StaleHint))
//	}
package mount
