package main

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// The capabilities by their numbers: capabilities(7).
var capabilityNames = strings.Fields(`CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP
	LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT
	SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE
	AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF
	CHECKPOINT_RESTORE`)

const sysResource = 24

// The limits by the kernel's numbers: getrlimit(2), as on amd64 and arm64.
var limitNumbers = map[string]int{"RLIMIT_CPU": 0, "RLIMIT_FSIZE": 1, "RLIMIT_DATA": 2, "RLIMIT_STACK": 3,
	"RLIMIT_CORE": 4, "RLIMIT_RSS": 5, "RLIMIT_NPROC": 6, "RLIMIT_NOFILE": 7, "RLIMIT_MEMLOCK": 8, "RLIMIT_AS": 9,
	"RLIMIT_LOCKS": 10, "RLIMIT_SIGPENDING": 11, "RLIMIT_MSGQUEUE": 12, "RLIMIT_NICE": 13, "RLIMIT_RTPRIO": 14,
	"RLIMIT_RTTIME": 15}

// object is a JSON object; what is not looked into stays byte for byte as it was.
type object = map[string]json.RawMessage

// fit changes a file, config.json or an exec's description, if that is needed and possible.
func fit(path string) {
	text, err := os.ReadFile(path)
	if err != nil {
		return
	}
	var whole object
	if json.Unmarshal(text, &whole) != nil {
		return
	}
	process := whole // an exec's description is that of a process alone
	inner, nested := whole["process"]
	if nested {
		process = nil
		if json.Unmarshal(inner, &process) != nil {
			return
		}
	}
	if !fitProcess(process, hasOwnUsers(whole["linux"])) {
		return
	}
	if nested {
		whole["process"], err = encode(process)
	}
	if err == nil {
		if text, err = encode(whole); err == nil {
			replace(path, text)
		}
	}
}

// fitProcess changes the description of a process and says whether it did.
func fitProcess(process object, ownUsers bool) bool {
	have := effective()
	changed := false
	if !ownUsers { // in a user namespace of its own a container has every capability, whatever we have
		changed = fitCapabilities(process, have)
	}
	if have>>sysResource&1 == 0 {
		changed = fitLimits(process) || changed
		changed = fitScore(process) || changed
	}
	return changed
}

func fitCapabilities(process object, have uint64) bool {
	var sets map[string][]string
	if json.Unmarshal(process["capabilities"], &sets) != nil {
		return false
	}
	ours := map[string]bool{}
	for number, name := range capabilityNames {
		ours["CAP_"+name] = have>>number&1 == 1
	}
	changed := false
	for set, names := range sets {
		kept := []string{}
		for _, name := range names {
			// One that we do not know by name is newer than this program: the real runtime may know it.
			if held, known := ours[name]; held || !known {
				kept = append(kept, name)
			}
		}
		if len(kept) != len(names) {
			sets[set], changed = kept, true
		}
	}
	return changed && put(process, "capabilities", sets)
}

func fitLimits(process object) bool {
	var limits []struct {
		Type string `json:"type"`
		Hard uint64 `json:"hard"`
		Soft uint64 `json:"soft"`
	}
	if json.Unmarshal(process["rlimits"], &limits) != nil {
		return false
	}
	changed := false
	for i := range limits {
		number, known := limitNumbers[limits[i].Type]
		var own syscall.Rlimit
		if !known || syscall.Getrlimit(number, &own) != nil || limits[i].Hard <= own.Max {
			continue
		}
		limits[i].Hard = own.Max
		limits[i].Soft = min(limits[i].Soft, own.Max)
		changed = true
	}
	return changed && put(process, "rlimits", limits)
}

func fitScore(process object) bool {
	var wanted *int
	own, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil || json.Unmarshal(process["oomScoreAdj"], &wanted) != nil || wanted == nil {
		return false
	}
	score, err := strconv.Atoi(strings.TrimSpace(string(own)))
	return err == nil && *wanted < score && put(process, "oomScoreAdj", score)
}

// hasOwnUsers says whether the container gets a user namespace.
func hasOwnUsers(linux json.RawMessage) bool {
	var spec struct {
		Namespaces []struct {
			Type string `json:"type"`
		} `json:"namespaces"`
	}
	if json.Unmarshal(linux, &spec) != nil {
		return false
	}
	for _, namespace := range spec.Namespaces {
		if namespace.Type == "user" {
			return true
		}
	}
	return false
}

// effective returns our own capabilities, a bit each; all of them when they cannot be read.
func effective() uint64 {
	status, err := os.ReadFile("/proc/self/status")
	if err == nil {
		for _, line := range strings.Split(string(status), "\n") {
			if value, found := strings.CutPrefix(line, "CapEff:"); found {
				if have, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64); err == nil {
					return have
				}
			}
		}
	}
	return math.MaxUint64
}

func put(into object, key string, value any) bool {
	text, err := encode(value)
	if err == nil {
		into[key] = text
	}
	return err == nil
}

func encode(value any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return text.Bytes(), err
}

// replace writes a file anew, whole or not at all, with the rights and the owner that it had.
func replace(path string, text []byte) {
	info, err := os.Stat(path)
	if err != nil {
		return
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".fit-*")
	if err != nil {
		return
	}
	defer os.Remove(file.Name()) // after the rename there is nothing by that name
	_, err = file.Write(text)
	if err == nil {
		err = file.Chmod(info.Mode().Perm())
	}
	if owner, known := info.Sys().(*syscall.Stat_t); known && err == nil {
		err = file.Chown(int(owner.Uid), int(owner.Gid))
	}
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err == nil {
		_ = os.Rename(file.Name(), path)
	}
}
