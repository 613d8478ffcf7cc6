// Package server runs the S3 server of `streamhouse dev` and of the tests: versitygw on a local folder.
// It lives in a module and a process of its own, so that its dependencies stay out of the services and it can be killed.
// Nothing here knows objects, segments or keys; nothing of StreamHouse may import it.
//
// What it promises: an object whose PUT was answered is there after the process is killed, and the
// same folder works again. It never syncs to disk, so a power loss is out of its scope.
//
// The folder:
//
//	lock       held (flock) by the running process; a second one is refused
//	objects/   a folder a bucket, a file an object
//	metadata/  only where the file system has no extended attributes: checksums and headers of objects
//
// Read: config.go, server.go, storage.go, bucket.go, slow.go, health.go.
package server
