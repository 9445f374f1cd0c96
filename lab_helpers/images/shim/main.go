// An OCI runtime that stands in front of the real one, on a host that lacks capabilities.
//
// A privileged container is given every capability that the kernel knows, and may ask for higher limits and a lower
// OOM score than its parent's. The real runtime fails when this process itself has not what it is to give. So, before
// create, run and exec, this program takes out of the container's own description what nobody here could give:
// capabilities that it does not have itself, limits above its own hard ones, an OOM score below its own. Then it
// becomes the real runtime. On a host that lacks nothing it changes nothing, and what it does not understand it passes
// on as it is: whether a container starts is the real runtime's word.
//
// The command line: runc(8). The description: https://github.com/opencontainers/runtime-spec/blob/main/config.md
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// The real runtime's path, set when this is built (-ldflags "-X main.real=PATH").
var real string

func main() {
	for _, description := range parse(os.Args[1:]).descriptions() {
		fit(description)
	}
	program, err := findReal()
	if err == nil {
		err = syscall.Exec(program, append([]string{"runc"}, os.Args[1:]...), os.Environ())
	}
	fmt.Fprintln(os.Stderr, "vm-to-kubernetes runtime shim: the real runc cannot be started:", err)
	os.Exit(1)
}

// findReal returns the path that was set when this was built or, where that is gone, runc on PATH that is not us.
func findReal() (string, error) {
	if info, err := os.Stat(real); err == nil && !info.IsDir() {
		return real, nil
	}
	self, err := os.Stat("/proc/self/exe")
	if err != nil {
		return "", err
	}
	for _, folder := range filepath.SplitList(os.Getenv("PATH") + ":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin") {
		path := filepath.Join(folder, "runc")
		info, err := os.Stat(path)
		if err == nil && !info.IsDir() && info.Mode()&0o111 != 0 && !os.SameFile(info, self) {
			return path, nil
		}
	}
	return "", exec.ErrNotFound
}

// call is what the command line asks for, as far as it matters here.
type call struct {
	command string
	bundle  string
	process string
}

// Options that take a word after them. Any other option stands alone, or has its value behind a "=".
var (
	globalOptions = words("root log log-format log-level criu rootless cgroup-manager")
	options       = map[string]map[string]bool{
		"create": words("bundle b console-socket pid-file pidfd-socket preserve-fds"),
		"run":    words("bundle b console-socket pid-file pidfd-socket preserve-fds"),
		"exec": words("console-socket pidfd-socket cwd env e user u additional-gids g process p pid-file " +
			"process-label apparmor cap c preserve-fds cgroup"),
	}
)

func words(text string) map[string]bool {
	set := map[string]bool{}
	for _, word := range strings.Fields(text) {
		set[word] = true
	}
	return set
}

// parse reads options as runc does: -NAME and --NAME are the same, a value follows or stands behind "=", and what comes
// after the first other word (the container's name, and for exec the command in it) is none of ours.
func parse(args []string) call {
	rest, _ := takeOptions(args, globalOptions)
	if len(rest) == 0 {
		return call{}
	}
	found := call{command: rest[0]}
	takes, known := options[found.command]
	if !known {
		return found
	}
	_, given := takeOptions(rest[1:], takes)
	found.bundle = either(given, "bundle", "b")
	found.process = either(given, "process", "p")
	return found
}

func either(given map[string]string, names ...string) string {
	for _, name := range names {
		if value := given[name]; value != "" {
			return value
		}
	}
	return ""
}

// takeOptions returns what is left after the options, and the values that were given to some of them.
func takeOptions(args []string, takes map[string]bool) ([]string, map[string]string) {
	given := map[string]string{}
	for len(args) > 0 {
		word := args[0]
		if len(word) < 2 || word[0] != '-' {
			break
		}
		args = args[1:]
		if word == "--" {
			break
		}
		name, value, joined := strings.Cut(strings.TrimPrefix(word[1:], "-"), "=")
		if !takes[name] {
			continue
		}
		if !joined && len(args) > 0 {
			value, args = args[0], args[1:]
		}
		given[name] = value
	}
	return args, given
}

// descriptions returns the files that describe what is to be started.
func (c call) descriptions() []string {
	switch c.command {
	case "create", "run":
		return []string{filepath.Join(c.bundle, "config.json")} // without a bundle: the current folder
	case "exec":
		if c.process != "" {
			return []string{c.process}
		}
	}
	return nil
}
