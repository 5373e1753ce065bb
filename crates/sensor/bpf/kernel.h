// The few kernel types that the programs look into, by the fields that they read. The loader moves each access to
// where the running kernel has the field (CO-RE), so sizes and order here mean nothing, and no generated header of one
// kernel is needed to build for all.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef int s32;
typedef unsigned long long u64;
typedef long long s64;

#define KERNEL __attribute__((preserve_access_index))

struct qstr {
  const unsigned char *name;
} KERNEL;
struct super_block {
  u32 s_dev;
} KERNEL;
struct timespec64 {
  s64 tv_sec;
  long tv_nsec;
} KERNEL;
struct inode {
  u16 i_mode;
  unsigned long i_ino;
  struct super_block *i_sb;
  s64 i_size;
  // Since 6.11 in two fields, before that in one.
  s64 i_mtime_sec;
  u32 i_mtime_nsec;
} KERNEL;
struct inode___before_6_6 {
  struct timespec64 i_mtime;
} KERNEL;
struct inode___before_6_11 {
  struct timespec64 __i_mtime;
} KERNEL;
struct dentry {
  struct dentry *d_parent;
  struct qstr d_name;
} KERNEL;
struct vfsmount {
  struct dentry *mnt_root;
} KERNEL;
struct mount {
  struct mount *mnt_parent;
  struct dentry *mnt_mountpoint;
  struct vfsmount mnt;
} KERNEL;
struct path {
  struct vfsmount *mnt;
  struct dentry *dentry;
} KERNEL;
struct file {
  struct path f_path;
  struct inode *f_inode;
} KERNEL;
struct fs_struct {
  struct path pwd;
} KERNEL;
struct mm_struct {
  unsigned long arg_start;
  unsigned long arg_end;
  struct file *exe_file;
} KERNEL;
typedef struct {
  u32 val;
} kuid_t;
struct cred {
  kuid_t uid;
  kuid_t euid;
} KERNEL;
typedef struct {
  int counter;
} atomic_t;
struct signal_struct {
  atomic_t live;
  int group_exit_code;
} KERNEL;
struct task_struct {
  s32 pid;
  s32 tgid;
  u64 start_boottime;
  struct task_struct *real_parent;
  struct task_struct *group_leader;
  struct mm_struct *mm;
  struct fs_struct *fs;
  struct signal_struct *signal;
  struct cred *cred;
  int exit_code;
  char comm[16];
} KERNEL;

struct ns_common {
  u32 inum;
} KERNEL;
struct net {
  struct ns_common ns;
} KERNEL;
typedef struct {
  struct net *net;
} possible_net_t;
struct in6_addr {
  u8 bytes[16];
};
struct sock_common {
  u32 skc_daddr;
  u32 skc_rcv_saddr;
  u16 skc_dport;
  u16 skc_num;
  u16 skc_family;
  possible_net_t skc_net;
  struct in6_addr skc_v6_daddr;
  struct in6_addr skc_v6_rcv_saddr;
} KERNEL;
struct sock {
  struct sock_common __sk_common;
  u16 sk_protocol;
} KERNEL;

// What a program may call, by the numbers of the kernel's interface (include/uapi/linux/bpf.h).
static void *(*const map_lookup)(void *map, const void *key) = (void *)1;
static long (*const map_update)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static long (*const map_delete)(void *map, const void *key) = (void *)3;
static u64 (*const current_pid_tgid)(void) = (void *)14;
static u64 (*const current_task)(void) = (void *)35;
static u64 (*const current_cgroup_id)(void) = (void *)80;
static long (*const read_user)(void *to, u32 size, const void *from) = (void *)112;
static long (*const read_kernel)(void *to, u32 size, const void *from) = (void *)113;
static long (*const read_kernel_text)(void *to, u32 size, const void *from) = (void *)115;
static u64 (*const boot_ns)(void) = (void *)125;
static long (*const ring_output)(void *ring, void *data, u64 size, u64 flags) = (void *)130;

#define SECTION(name) __attribute__((section(name), used))
#define INLINE static __attribute__((always_inline)) inline
#define BARRIER(number) __asm__ volatile("" : "+r"(number))
#define MAP_INT(name, value) int(*name)[value]
#define MAP_TYPE(name, value) typeof(value) *name

// A field of a kernel object, zero where it cannot be read.
#define READ(object, field)                                                                       \
  ({                                                                                              \
    typeof((object)->field) value_;                                                               \
    __builtin_memset(&value_, 0, sizeof(value_));                                                 \
    read_kernel(&value_, sizeof(value_), __builtin_preserve_access_index(&(object)->field));      \
    value_;                                                                                       \
  })
// Whether the running kernel has a field (the loader answers).
#define HAS(object, field) __builtin_preserve_field_info((object)->field, 2)
#define OFFSET_OF(type, field) __builtin_preserve_field_info(((type *)0)->field, 0)
