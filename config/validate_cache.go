package config

// cache checks a cache. Folders are compared over the whole configuration.
func (v *validator) cache(c *Cache, path string) {
	if c == nil || c.Off {
		return
	}
	if c.MaxObject > c.Size {
		v.fail(path+".max_object", v.name(path+".max_object")+" is larger than the whole cache", "make size larger, or max_object smaller")
	}
	if c.Folder == "" {
		return
	}
	if c.FolderSize < c.MaxObject {
		v.fail(path+".folder_size", v.name(path+".folder_size")+" does not hold even one answer of max_object", "make it larger")
	}
	if other, taken := v.cacheFolders[c.Folder]; taken {
		v.fail(path+".folder", v.name(path+".folder")+" is the folder of another cache already, on "+v.place(other), "give each cache a folder of its own")
		return
	}
	v.cacheFolders[c.Folder] = path + ".folder"
}
