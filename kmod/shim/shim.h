/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the kernel offers only as a static inline, a macro or a variadic
 * function, under names that Rust can call. One function, one kernel facility;
 * no decisions, no allocation of our own. bindgen reads this file.
 */
#ifndef NETRAID_SHIM_H
#define NETRAID_SHIM_H

#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/completion.h>
#include <linux/fcntl.h>
#include <linux/mempool.h>
#include <linux/net.h>
#include <linux/percpu-refcount.h>
#include <linux/stat.h>
#include <linux/wait.h>

#include <uapi/linux/netraid.h>

struct file;
struct genl_info;
struct inode;
struct netlink_callback;
struct net;

/* misc.c: time, memory scope, threads, module reference */
u64 netraid_now_ms(void);
u64 netraid_wall_ms(void);
unsigned long netraid_jiffies(void);
unsigned int netraid_noio_save(void);
void netraid_noio_restore(unsigned int flags);
unsigned long netraid_irq_save(void);
void netraid_irq_restore(unsigned long flags);
struct task_struct *netraid_kthread_create(int (*run)(void *data), void *data, const char *name);
void netraid_kthread_put(struct task_struct *task);
void netraid_module_get(void);
void netraid_module_put(void);
const char *netraid_node_name(void);
unsigned long netraid_current(void);

/* wait.c: an event one thread waits for, a count of users to be waited out */
struct netraid_event {
	wait_queue_head_t wait;
	atomic_t raised;
};

struct netraid_rundown {
	struct percpu_ref users;
	struct completion done;
};

void netraid_event_init(struct netraid_event *event);
void netraid_event_raise(struct netraid_event *event);
bool netraid_event_wait(struct netraid_event *event, unsigned int ms);
int netraid_rundown_init(struct netraid_rundown *rundown);
bool netraid_rundown_enter(struct netraid_rundown *rundown);
void netraid_rundown_leave(struct netraid_rundown *rundown);
void netraid_rundown_kill(struct netraid_rundown *rundown);
bool netraid_rundown_wait(struct netraid_rundown *rundown, unsigned int ms);

/* block.c: bio flags, disks, block devices */
enum netraid_block_const {
	NETRAID_REQ_FUA = (__force int)REQ_FUA,
	NETRAID_REQ_PREFLUSH = (__force int)REQ_PREFLUSH,
	NETRAID_REQ_NOUNMAP = (__force int)REQ_NOUNMAP,
	NETRAID_REQ_SYNC = (__force int)REQ_SYNC,
	NETRAID_REQ_IDLE = (__force int)REQ_IDLE,
	NETRAID_REQ_META = (__force int)REQ_META,
	NETRAID_OP_MASK = REQ_OP_MASK,
	NETRAID_FEAT_WRITE_CACHE = (__force int)BLK_FEAT_WRITE_CACHE,
	NETRAID_FEAT_FUA = (__force int)BLK_FEAT_FUA,
	NETRAID_FEAT_STABLE_WRITES = (__force int)BLK_FEAT_STABLE_WRITES,
	NETRAID_FEAT_ROTATIONAL = (__force int)BLK_FEAT_ROTATIONAL,
	NETRAID_FEAT_IO_STAT = (__force int)BLK_FEAT_IO_STAT,
	NETRAID_MODE_READ = (__force int)BLK_OPEN_READ,
	NETRAID_MODE_WRITE = (__force int)BLK_OPEN_WRITE,
	NETRAID_MODE_EXCL = (__force int)BLK_OPEN_EXCL,
	NETRAID_BIOSET_RESCUER = BIOSET_NEED_RESCUER,
	NETRAID_BIOSET_BVECS = BIOSET_NEED_BVECS,
	NETRAID_GFP_NOIO = (__force int)(GFP_NOIO | __GFP_NOWARN),
	NETRAID_GFP_NOWAIT = (__force int)(GFP_NOWAIT | __GFP_NOWARN),
	NETRAID_MAX_VECS = BIO_MAX_VECS,
	NETRAID_STS_OK = (__force int)BLK_STS_OK,
	NETRAID_STS_IOERR = (__force int)BLK_STS_IOERR,
};

struct gendisk *netraid_alloc_disk(struct queue_limits *limits);
int netraid_add_disk(struct gendisk *disk);
void netraid_bio_rewind(struct bio *bio, sector_t sector, unsigned int bytes);
unsigned int netraid_bio_errno(struct bio *bio);
void netraid_bio_end_acct(struct bio *bio, unsigned long start);
unsigned char netraid_status_of(int err);
u64 netraid_bdev_bytes(struct block_device *bdev);
unsigned int netraid_bdev_logical_block(struct block_device *bdev);
bool netraid_bdev_zoned(struct block_device *bdev);
bool netraid_bdev_read_only(struct block_device *bdev);
bool netraid_bdev_can_discard(struct block_device *bdev);
bool netraid_bdev_cached(struct block_device *bdev);
u32 netraid_bdev_devt(struct block_device *bdev);
bool netraid_bdev_own(struct block_device *bdev);
bool netraid_bio_is_plain(struct bio *bio);
void netraid_bio_set_disk(struct bio *bio, struct block_device *bdev);
mempool_t *netraid_memory_pool(int pieces, size_t size);
void *netraid_memory_get(mempool_t *pool);
mempool_t *netraid_page_pool(int pages);
struct page *netraid_page_get(mempool_t *pool);
struct page *netraid_page_try(void);
void netraid_bio_free_pages(struct bio *bio, mempool_t *pool);
bool netraid_bio_is_zero(struct bio *bio);
void netraid_bio_sha256(struct bio *bio, u8 *digest);
u64 netraid_bio_xxh64(struct bio *bio);
void netraid_bio_copy(struct bio *to, struct bio *from);

/* file.c: one block of a file or device at a time */
enum netraid_file_const {
	NETRAID_BLOCK_SIZE = 4096,
	NETRAID_FILE_MODE = O_RDWR | O_DIRECT | O_LARGEFILE,
	NETRAID_TYPE_FILE = S_IFREG,
	NETRAID_TYPE_BLOCK = S_IFBLK,
};

void *netraid_block_alloc(void);
void netraid_block_free(void *block);
int netraid_path_type(const char *name);
struct inode *netraid_file_inode(struct file *file);
u64 netraid_inode_bytes(struct inode *inode);
struct block_device *netraid_inode_bdev(struct inode *inode);
ssize_t netraid_file_read(struct file *file, u64 offset, void *data, unsigned int len);
ssize_t netraid_file_write(struct file *file, u64 offset, const void *data, unsigned int len, bool durable);
int netraid_bdev_rw(struct block_device *bdev, u64 offset, void *data, unsigned int len, unsigned int opf);

/* net.c: sockets */
struct netraid_addr {
	u8 ip[16];
	u32 ip_len;
	u32 port;
	u32 scope_id;
};

int netraid_sock_create(struct net *net, const struct netraid_addr *addr, struct socket **sock);
void netraid_sock_tune(struct socket *sock, unsigned int timeout_ms);
int netraid_sock_bind_listen(struct socket *sock, const struct netraid_addr *addr);
int netraid_sock_connect(struct socket *sock, const struct netraid_addr *addr, unsigned int timeout_ms);
int netraid_sock_accept(struct socket *sock, struct socket **peer);
int netraid_sock_peer(struct socket *sock, struct netraid_addr *addr);
void netraid_sock_wait_ms(struct socket *sock, unsigned int ms);
void netraid_sock_abort(struct socket *sock);
int netraid_sock_send(struct socket *sock, const void *head, unsigned int head_len, const void *data, unsigned int len,
		      bool more);
void netraid_sock_push(struct socket *sock);
bool netraid_sock_has_room(struct socket *sock, unsigned int bytes);
unsigned int netraid_sock_readable(struct socket *sock);
int netraid_sock_recv(struct socket *sock, void *data, unsigned int len);
int netraid_sock_send_bio(struct socket *sock, struct bio *bio, unsigned int skip, unsigned int len, bool more,
			  bool lend);
int netraid_sock_send_headed(struct socket *sock, const void *head, unsigned int head_len, struct bio *bio, bool more);
int netraid_sock_recv_bio(struct socket *sock, struct bio *bio, unsigned int skip, unsigned int len, void *tail,
			  unsigned int tail_len);
void netraid_bio_fill(struct bio *bio, const void *data, unsigned int len);
struct net *netraid_net_get(struct net *net);
void netraid_net_put(struct net *net);

/* ear.c: what arrives, taken in as it arrives */
enum netraid_ear_const {
	/* A message of as many confirmations as there can be in one. */
	NETRAID_EAR_ROOM = 48 + 64 * 16,
};

struct netraid_ear {
	/* Takes whole messages from the beginning of `data`; returns how many bytes, and sets `wake` for the thread. */
	unsigned int (*hear)(void *context, const u8 *data, unsigned int len, bool *wake);
	void *context;
	void (*data_ready)(struct sock *sk);
	bool open;
	bool wake;
	u8 room[NETRAID_EAR_ROOM];
};

void netraid_ear_put(struct socket *sock, struct netraid_ear *ear);
void netraid_ear_remove(struct socket *sock, struct netraid_ear *ear);
bool netraid_ear_wait(struct socket *sock, struct netraid_ear *ear);

/* Room for one message; larger than any object of the family. */
#define NETRAID_MSG_SIZE 8192

/* genl.c: attributes, replies, multicasts */
struct nlattr *netraid_attr(const struct genl_info *info, int type);
int netraid_attr_nest(struct nlattr *nest, int type, struct genl_info *info, struct nlattr **found);
u32 netraid_attr_u32(const struct nlattr *attr);
const void *netraid_attr_data(const struct nlattr *attr);
unsigned int netraid_attr_len(const struct nlattr *attr);
bool netraid_info_is_admin(struct sk_buff *request);
struct net *netraid_info_net(const struct genl_info *info);
void netraid_info_error(struct genl_info *info, const char *text);
void netraid_info_bad_attr(struct genl_info *info, const struct nlattr *attr);
void netraid_info_missing(struct genl_info *info, int type);
void netraid_dump_error(struct netlink_callback *cb, const char *text);
struct sk_buff *netraid_msg_new(unsigned int size);
void netraid_msg_free(struct sk_buff *msg);
void *netraid_reply_start(struct sk_buff *msg, struct genl_info *info, u8 cmd);
void *netraid_dump_start(struct sk_buff *msg, struct netlink_callback *cb, u8 cmd);
void *netraid_event_start(struct sk_buff *msg, u8 cmd);
void netraid_msg_end(struct sk_buff *msg, void *header);
void netraid_msg_cancel(struct sk_buff *msg, void *header);
int netraid_msg_reply(struct sk_buff *msg, struct genl_info *info);
void netraid_msg_multicast(struct sk_buff *msg, unsigned int group);
u64 *netraid_dump_cursor(struct netlink_callback *cb);
void netraid_dump_generation(struct netlink_callback *cb, void *header, u64 generation);
int netraid_put_u32(struct sk_buff *msg, int type, u32 value);
int netraid_put_uint(struct sk_buff *msg, int type, u64 value);
int netraid_put_flag(struct sk_buff *msg, int type);
int netraid_put_bytes(struct sk_buff *msg, int type, const void *data, unsigned int len);
int netraid_put_string(struct sk_buff *msg, int type, const void *text, unsigned int len);
struct nlattr *netraid_nest_start(struct sk_buff *msg, int type);
void netraid_nest_end(struct sk_buff *msg, struct nlattr *nest);
int netraid_family_register(void);
void netraid_family_unregister(void);

#endif
