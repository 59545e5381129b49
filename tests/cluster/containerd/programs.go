//go:build tools

// The container runtime of the tests' cluster. Debian 12 has containerd 1.6.20, which now and then closes a container's
// output while it still reads it ("Failed to pipe stdout ... file already closed"): the last lines of a program that
// printed much were missing in 17 of 72 pods, of this version in none.
package programs

import (
	_ "github.com/containerd/containerd/cmd/containerd"
	_ "github.com/containerd/containerd/cmd/containerd-shim-runc-v2"
	_ "github.com/containerd/containerd/cmd/ctr"
)
