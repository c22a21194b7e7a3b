// SPDX-License-Identifier: GPL-2.0
#include <linux/bvec.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/net.h>
#include <linux/tcp.h>
#include <linux/uio.h>
#include <net/net_namespace.h>
#include <net/sock.h>
#include <net/tcp.h>

#include "shim.h"

static int netraid_to_sockaddr(const struct netraid_addr *addr, struct sockaddr_storage *to)
{
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)to;
	struct sockaddr_in *four = (struct sockaddr_in *)to;

	memset(to, 0, sizeof(*to));
	if (addr->ip_len == sizeof(four->sin_addr)) {
		four->sin_family = AF_INET;
		four->sin_port = htons(addr->port);
		memcpy(&four->sin_addr, addr->ip, sizeof(four->sin_addr));
		return sizeof(*four);
	}
	six->sin6_family = AF_INET6;
	six->sin6_port = htons(addr->port);
	six->sin6_scope_id = addr->scope_id;
	memcpy(&six->sin6_addr, addr->ip, sizeof(six->sin6_addr));
	return sizeof(*six);
}

static void netraid_from_sockaddr(const struct sockaddr_storage *from, struct netraid_addr *addr)
{
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)from;
	const struct sockaddr_in *four = (const struct sockaddr_in *)from;

	memset(addr, 0, sizeof(*addr));
	if (from->ss_family == AF_INET) {
		addr->ip_len = sizeof(four->sin_addr);
		addr->port = ntohs(four->sin_port);
		memcpy(addr->ip, &four->sin_addr, sizeof(four->sin_addr));
	} else if (ipv6_addr_v4mapped(&six->sin6_addr)) {
		addr->ip_len = sizeof(four->sin_addr);
		addr->port = ntohs(six->sin6_port);
		memcpy(addr->ip, &six->sin6_addr.s6_addr[12], sizeof(four->sin_addr));
	} else {
		addr->ip_len = sizeof(six->sin6_addr);
		addr->port = ntohs(six->sin6_port);
		addr->scope_id = six->sin6_scope_id;
		memcpy(addr->ip, &six->sin6_addr, sizeof(six->sin6_addr));
	}
}

/*
 * An application that holds the lock of a socket of its own may write to a
 * mirror, be it to reclaim memory: for lockdep ours are others.
 */
static void netraid_sock_classify(struct sock *sk)
{
#ifdef CONFIG_LOCKDEP
	static struct lock_class_key keys[4];

	if (sk->sk_family == AF_INET6)
		sock_lock_init_class_and_name(sk, "slock-AF_INET6-NETRAID", &keys[0], "sk_lock-AF_INET6-NETRAID",
					      &keys[1]);
	else
		sock_lock_init_class_and_name(sk, "slock-AF_INET-NETRAID", &keys[2], "sk_lock-AF_INET-NETRAID",
					      &keys[3]);
#endif
}

int netraid_sock_create(struct net *net, const struct netraid_addr *addr, struct socket **sock)
{
	int family = addr->ip_len == 4 ? AF_INET : AF_INET6;
	int err = sock_create_kern(net, family, SOCK_STREAM, IPPROTO_TCP, sock);

	if (!err)
		netraid_sock_classify((*sock)->sk);
	return err;
}

/*
 * Memory for the socket must never depend on I/O, which may need this very
 * socket; and the page fragment of the task is not used, since the task may be
 * one that is already in the middle of a send.
 */
void netraid_sock_tune(struct socket *sock, unsigned int timeout_ms)
{
	struct sock *sk = sock->sk;

	sk->sk_allocation = GFP_NOIO;
	sk->sk_use_task_frag = false;
	sk->sk_sndtimeo = msecs_to_jiffies(timeout_ms);
	tcp_sock_set_nodelay(sk);
}

int netraid_sock_bind_listen(struct socket *sock, const struct netraid_addr *addr)
{
	struct sockaddr_storage to;
	int len = netraid_to_sockaddr(addr, &to), err;

	sock_set_reuseaddr(sock->sk);
	err = kernel_bind(sock, (struct sockaddr_unsized *)&to, len);
	return err ?: kernel_listen(sock, 16);
}

int netraid_sock_connect(struct socket *sock, const struct netraid_addr *addr, unsigned int timeout_ms)
{
	struct sockaddr_storage to;
	int len = netraid_to_sockaddr(addr, &to);

	sock->sk->sk_sndtimeo = msecs_to_jiffies(timeout_ms);
	return kernel_connect(sock, (struct sockaddr_unsized *)&to, len, 0);
}

int netraid_sock_accept(struct socket *sock, struct socket **peer)
{
	return kernel_accept(sock, peer, 0);
}

int netraid_sock_peer(struct socket *sock, struct netraid_addr *addr)
{
	struct sockaddr_storage from;
	int len = kernel_getpeername(sock, (struct sockaddr *)&from);

	if (len < 0)
		return len;
	netraid_from_sockaddr(&from, addr);
	return 0;
}

/* How long one receive or accept waits. */
void netraid_sock_wait_ms(struct socket *sock, unsigned int ms)
{
	sock->sk->sk_rcvtimeo = msecs_to_jiffies(ms);
}

/* What is still queued must not be sent after the pages were given back: reset instead of a close. */
void netraid_sock_abort(struct socket *sock)
{
	sock_no_linger(sock->sk);
}

/*
 * With `more`, what is sent may wait for what comes next and travel with it, if it does not fill a packet; so somebody has
 * to send again at once, or to call netraid_sock_push().
 */
static int netraid_send_flags(bool more)
{
	return MSG_NOSIGNAL | (more ? MSG_MORE : 0);
}

/* Setting what is set already also sends what waits; nothing else that modules can call does. */
void netraid_sock_push(struct socket *sock)
{
	tcp_sock_set_nodelay(sock->sk);
}

/* Two pieces as one message, of which the second may be empty; the number of bytes taken counts through both. */
int netraid_sock_send(struct socket *sock, const void *head, unsigned int head_len, const void *data, unsigned int len,
		      bool more)
{
	struct msghdr msg = { .msg_flags = netraid_send_flags(more) };
	struct kvec vec[2] = {
		{ .iov_base = (void *)head, .iov_len = head_len },
		{ .iov_base = (void *)data, .iov_len = len },
	};

	return kernel_sendmsg(sock, &msg, vec, len ? 2 : 1, head_len + len);
}

/* sk_stream_wspace() is a static inline. Without the lock of the socket it may be a moment old. */
bool netraid_sock_has_room(struct socket *sock, unsigned int bytes)
{
	int room = sk_stream_wspace(sock->sk);

	return room > 0 && room >= bytes;
}

/* tcp_inq() is a static inline. Without the lock of the socket it may be a moment old. */
unsigned int netraid_sock_readable(struct socket *sock)
{
	int bytes = tcp_inq(sock->sk);

	return bytes > 0 ? bytes : 0;
}

int netraid_sock_recv(struct socket *sock, void *data, unsigned int len)
{
	struct msghdr msg = { };
	struct kvec vec = { .iov_base = data, .iov_len = len };

	return kernel_recvmsg(sock, &msg, &vec, 1, len, MSG_NOSIGNAL);
}

/* The pages of a bio from byte `skip` on; its bvec table is not consumed. */
static void netraid_bio_iter(struct bio *bio, int direction, unsigned int skip, unsigned int len,
			     struct iov_iter *iter)
{
	struct bvec_iter at = bio->bi_iter;
	const struct bio_vec *first = __bvec_iter_bvec(bio->bi_io_vec, at);
	unsigned int lead = mp_bvec_iter_offset(bio->bi_io_vec, at) - first->bv_offset;
	unsigned int segments = 0, done = 0;

	while (done < skip + len) {
		struct bio_vec bv = mp_bvec_iter_bvec(bio->bi_io_vec, at);

		bvec_iter_advance(bio->bi_io_vec, &at, bv.bv_len);
		done += bv.bv_len;
		segments++;
	}
	iov_iter_bvec(iter, direction, first, segments, lead + skip + len);
	iov_iter_advance(iter, lead + skip);
}

/* Memory of the slab allocator, in which XFS keeps its log, cannot be lent. */
static bool netraid_bio_can_lend(struct bio *bio)
{
	struct bvec_iter iter;
	struct bio_vec bvec;

	bio_for_each_bvec(bvec, bio, iter)
		if (!sendpages_ok(bvec.bv_page, bvec.bv_len, bvec.bv_offset))
			return false;
	return true;
}

/* With `lend`, the pages are not copied but sent from where they are, now or when they have to be sent again. */
int netraid_sock_send_bio(struct socket *sock, struct bio *bio, unsigned int skip, unsigned int len, bool more,
			  bool lend)
{
	struct msghdr msg = { .msg_flags = netraid_send_flags(more) };

	if (lend && netraid_bio_can_lend(bio))
		msg.msg_flags |= MSG_SPLICE_PAGES;
	netraid_bio_iter(bio, ITER_SOURCE, skip, len, &msg.msg_iter);
	return sock_sendmsg(sock, &msg);
}

/* Pieces of a bio that go into one call together with what is ahead of them. */
#define NETRAID_PIECES 8

/*
 * As much of `head`, which is not on a stack, and of what follows it in a bio as goes into one call; the number of bytes
 * taken counts through both.
 */
int netraid_sock_send_headed(struct socket *sock, const void *head, unsigned int head_len, struct bio *bio, bool more)
{
	struct msghdr msg = { .msg_flags = netraid_send_flags(more) };
	struct bio_vec vec[1 + NETRAID_PIECES];
	struct bvec_iter at = bio->bi_iter;
	unsigned int pieces = 1, len = head_len;

	bvec_set_virt(&vec[0], (void *)head, head_len);
	while (at.bi_size && pieces < ARRAY_SIZE(vec)) {
		vec[pieces] = mp_bvec_iter_bvec(bio->bi_io_vec, at);
		len += vec[pieces].bv_len;
		bvec_iter_advance(bio->bi_io_vec, &at, vec[pieces].bv_len);
		pieces++;
	}
	if (at.bi_size)
		msg.msg_flags |= MSG_MORE;
	iov_iter_bvec(&msg.msg_iter, ITER_SOURCE, vec, pieces, len);
	return sock_sendmsg(sock, &msg);
}

/*
 * Into the pages of a bio from byte `skip` on, and where those are few, what comes after that into `tail`, which is not on a
 * stack; the number of bytes counts through both.
 */
int netraid_sock_recv_bio(struct socket *sock, struct bio *bio, unsigned int skip, unsigned int len, void *tail,
			  unsigned int tail_len)
{
	struct msghdr msg = { .msg_flags = MSG_NOSIGNAL };
	struct bio_vec vec[NETRAID_PIECES + 1];
	struct bvec_iter at = bio->bi_iter;
	unsigned int pieces = 0, left = len;

	bvec_iter_advance(bio->bi_io_vec, &at, skip);
	while (left && pieces < NETRAID_PIECES) {
		vec[pieces] = mp_bvec_iter_bvec(bio->bi_io_vec, at);
		left -= vec[pieces].bv_len;
		bvec_iter_advance(bio->bi_io_vec, &at, vec[pieces].bv_len);
		pieces++;
	}
	if (left) {
		netraid_bio_iter(bio, ITER_DEST, skip, len, &msg.msg_iter);
	} else {
		bvec_set_virt(&vec[pieces], tail, tail_len);
		iov_iter_bvec(&msg.msg_iter, ITER_DEST, vec, tail_len ? pieces + 1 : pieces, len + tail_len);
	}
	return sock_recvmsg(sock, &msg, msg.msg_flags);
}

/* Bytes of memory into the first pages of a bio. */
void netraid_bio_fill(struct bio *bio, const void *data, unsigned int len)
{
	struct iov_iter iter;

	netraid_bio_iter(bio, ITER_DEST, 0, len, &iter);
	copy_to_iter(data, len, &iter);
}

/* static inlines in net/net_namespace.h */
struct net *netraid_net_get(struct net *net)
{
	return get_net(net);
}

void netraid_net_put(struct net *net)
{
	put_net(net);
}
