// Telemetry of processes and TCP connections, from raw tracepoints only: they need neither kprobes nor tracefs, and cost
// nothing for system calls that start no process and open no connection. A program never waits and never changes what
// it sees; what finds no place in the ring is counted by kind, so that no loss is silent.
#include "kernel.h"

enum kind { KIND_EXEC = 1, KIND_FORK = 2, KIND_EXIT = 3, KIND_CONNECT = 4, KIND_ACCEPT = 5, KINDS = 6 };

// Bytes of a path and of the arguments that are kept at most.
#define PATH_MAX_ 4096
#define NAME_MAX_ 256
#define ARGS_MAX_ 8192
#define COMPONENTS_MAX 48

struct who {
  u32 pid;
  u32 uid;
  u64 start_ns;
};

// Every message begins so; src/source/decode.rs reads the same layout.
struct head {
  u32 kind;
  u32 pid;
  u64 start_ns;
  u64 at_ns;
  u32 uid;
  u32 euid;
};

struct exec {
  struct head head;
  u64 parent_start_ns;
  u32 parent_pid;
  u32 device;
  u64 inode;
  u64 size;
  s64 modified_secs;
  u64 cgroup;
  u32 modified_nanos;
  u32 args_total;
  u32 exe_bytes;
  u32 cwd_bytes;
  u32 args_bytes;
  u32 written;
  // The components of the file's path leaf first, of the working folder leaf first, then the arguments.
  u8 data[2 * PATH_MAX_ + NAME_MAX_ + ARGS_MAX_];
};

struct fork {
  struct head head;
  u64 parent_start_ns;
  u32 parent_pid;
  u32 reserved;
};

struct exit {
  struct head head;
  u32 code;
  u32 reserved;
};

struct connection {
  struct head head;
  u32 family;
  u32 established;
  u32 netns;
  u16 local_port;
  u16 remote_port;
  u8 local[16];
  u8 remote[16];
};

struct {
  MAP_INT(type, 27); // ring buffer
  MAP_INT(max_entries, 16 << 20);
} ring SECTION(".maps");

struct {
  MAP_INT(type, 6); // per-cpu array
  MAP_TYPE(key, u32);
  MAP_TYPE(value, struct exec);
  MAP_INT(max_entries, 1);
} scratch SECTION(".maps");

struct {
  MAP_INT(type, 6);
  MAP_TYPE(key, u32);
  MAP_TYPE(value, u64);
  MAP_INT(max_entries, KINDS);
} lost SECTION(".maps");

// Who made a process: its parent in the kernel changes when the maker ends first.
struct {
  MAP_INT(type, 9); // least recently used goes first
  MAP_TYPE(key, u32);
  MAP_TYPE(value, struct fork);
  MAP_INT(max_entries, 65536);
} makers SECTION(".maps");

// Who asked for a connection that is being made.
struct {
  MAP_INT(type, 9);
  MAP_TYPE(key, u64);
  MAP_TYPE(value, struct who);
  MAP_INT(max_entries, 65536);
} connecting SECTION(".maps");

struct port {
  u32 netns;
  u32 port;
};

// Who listens: connections that arrive are made outside of any process.
struct {
  MAP_INT(type, 9);
  MAP_TYPE(key, struct port);
  MAP_TYPE(value, struct who);
  MAP_INT(max_entries, 16384);
} listening SECTION(".maps");

char licence[] SECTION("license") = "Dual BSD/GPL";

INLINE void send(void *message, u64 size, u32 kind) {
  if (ring_output(&ring, message, size, 0) < 0) {
    u64 *count = map_lookup(&lost, &kind);
    if (count)
      *count += 1;
  }
}

INLINE u64 start_of(struct task_struct *task) {
  struct task_struct *leader = READ(task, group_leader);
  return READ(leader, start_boottime);
}

INLINE void fill(struct head *head, u32 kind, struct task_struct *task) {
  struct cred *cred = READ(task, cred);
  head->kind = kind;
  head->pid = READ(task, tgid);
  head->start_ns = start_of(task);
  head->at_ns = boot_ns();
  head->uid = READ(cred, uid.val);
  head->euid = READ(cred, euid.val);
}

// Write the components of a path behind what is written already, from its leaf up to the root of its mount namespace;
// returns its bytes. How far it is stands in memory and not in a register: so the verifier sees the same state in each
// round and need not look at every length that a path can have.
INLINE u32 write_path(struct exec *out, struct vfsmount *vfsmount, struct dentry *dentry) {
  struct mount *mount = (void *)vfsmount - OFFSET_OF(struct mount, mnt);
  u32 from = out->written;
  for (int i = 0; i < COMPONENTS_MAX; i++) {
    struct dentry *root = READ(vfsmount, mnt_root);
    struct dentry *parent = READ(dentry, d_parent);
    if (dentry == root || dentry == parent) {
      struct mount *above = READ(mount, mnt_parent);
      if (above == mount || dentry != root)
        break;
      dentry = READ(mount, mnt_mountpoint);
      mount = above;
      vfsmount = (void *)mount + OFFSET_OF(struct mount, mnt);
      continue;
    }
    u32 place = out->written;
    if (place - from > PATH_MAX_ - NAME_MAX_)
      break;
    BARRIER(place);
    place &= 0x1fff;
    long bytes = read_kernel_text(&out->data[place], NAME_MAX_, READ(dentry, d_name.name));
    if (bytes <= 0 || bytes > NAME_MAX_)
      break;
    out->written = place + bytes;
    dentry = parent;
  }
  return out->written - from;
}

INLINE void write_file(struct exec *out, struct inode *inode) {
  struct super_block *super = READ(inode, i_sb);
  out->device = READ(super, s_dev);
  out->inode = READ(inode, i_ino);
  out->size = READ(inode, i_size);
  struct inode___before_6_6 *old = (void *)inode;
  struct inode___before_6_11 *middle = (void *)inode;
  if (HAS(inode, i_mtime_sec)) {
    out->modified_secs = READ(inode, i_mtime_sec);
    out->modified_nanos = READ(inode, i_mtime_nsec);
  } else if (HAS(middle, __i_mtime)) {
    out->modified_secs = READ(middle, __i_mtime.tv_sec);
    out->modified_nanos = READ(middle, __i_mtime.tv_nsec);
  } else {
    out->modified_secs = READ(old, i_mtime.tv_sec);
    out->modified_nanos = READ(old, i_mtime.tv_nsec);
  }
}

SECTION("raw_tp/sched_process_exec")
int on_exec(u64 *context) {
  u32 zero = 0;
  struct task_struct *task = (void *)context[0];
  struct exec *out = map_lookup(&scratch, &zero);
  if (!out)
    return 0;
  fill(&out->head, KIND_EXEC, task);
  struct fork *maker = map_lookup(&makers, &out->head.pid);
  if (maker && maker->head.start_ns == out->head.start_ns) {
    out->parent_pid = maker->parent_pid;
    out->parent_start_ns = maker->parent_start_ns;
  } else {
    struct task_struct *parent = READ(task, real_parent);
    out->parent_pid = READ(parent, tgid);
    out->parent_start_ns = start_of(parent);
  }
  out->cgroup = current_cgroup_id();
  struct mm_struct *mm = READ(task, mm);
  struct file *file = READ(mm, exe_file);
  write_file(out, READ(file, f_inode));
  out->written = 0;
  out->exe_bytes = write_path(out, READ(file, f_path.mnt), READ(file, f_path.dentry));
  struct fs_struct *fs = READ(task, fs);
  out->cwd_bytes = write_path(out, READ(fs, pwd.mnt), READ(fs, pwd.dentry));
  unsigned long from = READ(mm, arg_start);
  u64 total = READ(mm, arg_end) - from;
  out->args_total = total;
  u32 bytes = total < ARGS_MAX_ - 1 ? total : ARGS_MAX_ - 1;
  // The verifier follows a mask, not a comparison; the compiler must not see that one makes the other needless.
  BARRIER(bytes);
  bytes &= ARGS_MAX_ - 1;
  u32 end = out->written;
  BARRIER(end);
  end &= 0x1fff;
  if (read_user(&out->data[end], bytes, (void *)from) < 0)
    bytes = 0;
  out->args_bytes = bytes;
  u64 size = __builtin_offsetof(struct exec, data) + end + bytes;
  if (size > sizeof(*out))
    size = sizeof(*out);
  send(out, size, KIND_EXEC);
  return 0;
}

SECTION("raw_tp/sched_process_fork")
int on_fork(u64 *context) {
  struct task_struct *parent = (void *)context[0];
  struct task_struct *child = (void *)context[1];
  // A thread is no process.
  if (READ(child, pid) != READ(child, tgid))
    return 0;
  struct fork out = {};
  fill(&out.head, KIND_FORK, child);
  out.parent_pid = READ(parent, tgid);
  out.parent_start_ns = start_of(parent);
  u32 pid = out.head.pid;
  map_update(&makers, &pid, &out, 0);
  send(&out, sizeof(out), KIND_FORK);
  return 0;
}

SECTION("raw_tp/sched_process_exit")
int on_exit(u64 *context) {
  struct task_struct *task = (void *)context[0];
  struct signal_struct *signal = READ(task, signal);
  // The process ends with its last thread.
  if (READ(signal, live.counter) != 0)
    return 0;
  struct exit out = {};
  fill(&out.head, KIND_EXIT, task);
  u32 group = READ(signal, group_exit_code);
  out.code = group ? group : (u32)READ(task, exit_code);
  u32 pid = out.head.pid;
  map_delete(&makers, &pid);
  send(&out, sizeof(out), KIND_EXIT);
  return 0;
}

enum { ESTABLISHED = 1, SYN_SENT = 2, SYN_RECV = 3, CLOSE = 7, LISTEN = 10 };

INLINE void send_connection(struct sock *sock, u32 kind, struct who *who, u32 established, u32 netns) {
  struct connection out = {};
  out.head.kind = kind;
  out.head.at_ns = boot_ns();
  if (who) {
    out.head.pid = who->pid;
    out.head.uid = who->uid;
    out.head.euid = who->uid;
    out.head.start_ns = who->start_ns;
  }
  out.family = READ(sock, __sk_common.skc_family);
  out.established = established;
  out.netns = netns;
  out.local_port = READ(sock, __sk_common.skc_num);
  out.remote_port = READ(sock, __sk_common.skc_dport);
  if (out.family == 10) {
    read_kernel(out.local, 16, __builtin_preserve_access_index(&sock->__sk_common.skc_v6_rcv_saddr));
    read_kernel(out.remote, 16, __builtin_preserve_access_index(&sock->__sk_common.skc_v6_daddr));
  } else {
    read_kernel(out.local, 4, __builtin_preserve_access_index(&sock->__sk_common.skc_rcv_saddr));
    read_kernel(out.remote, 4, __builtin_preserve_access_index(&sock->__sk_common.skc_daddr));
  }
  send(&out, sizeof(out), kind);
}

SECTION("raw_tp/inet_sock_set_state")
int on_state(u64 *context) {
  struct sock *sock = (void *)context[0];
  int before = context[1];
  int after = context[2];
  if (READ(sock, sk_protocol) != 6)
    return 0;
  u64 key = (u64)sock;
  struct net *net = READ(sock, __sk_common.skc_net.net);
  struct port port = {.netns = READ(net, ns.inum), .port = READ(sock, __sk_common.skc_num)};
  if ((before == CLOSE && after == SYN_SENT) || after == LISTEN) {
    // Both come out of a system call: the current process asks.
    struct task_struct *task = (void *)current_task();
    struct cred *cred = READ(task, cred);
    struct who who = {.pid = current_pid_tgid() >> 32, .uid = READ(cred, uid.val), .start_ns = start_of(task)};
    if (after == LISTEN)
      map_update(&listening, &port, &who, 0);
    else
      map_update(&connecting, &key, &who, 0);
  } else if (before == SYN_SENT && (after == ESTABLISHED || after == CLOSE)) {
    struct who *who = map_lookup(&connecting, &key);
    send_connection(sock, KIND_CONNECT, who, after == ESTABLISHED, port.netns);
    map_delete(&connecting, &key);
  } else if (before == SYN_RECV && after == ESTABLISHED) {
    send_connection(sock, KIND_ACCEPT, map_lookup(&listening, &port), 1, port.netns);
  } else if (before == LISTEN && after == CLOSE) {
    // A connection that arrives begins as a copy of its listener, so it leaves that state too, but not for this one.
    map_delete(&listening, &port);
  }
  return 0;
}
