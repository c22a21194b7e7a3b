// SPDX-License-Identifier: GPL-2.0
/*
 * How fast can two kernel threads exchange data for acknowledgements over one
 * loopback TCP connection, with nothing else to do?
 *
 * A client sends requests, a header of 48 bytes and `length` bytes of data,
 * up to `window` of them ahead of their acknowledgements. A server reads them
 * and answers with 32 bytes, for each request or, where `coalesce` is set, for
 * all that have arrived. Loading the module measures for `milliseconds`; the
 * parameters `operations` and `nanoseconds` then hold the outcome until it is
 * unloaded.
 */
#include <linux/bvec.h>
#include <linux/in.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/net.h>
#include <linux/semaphore.h>
#include <linux/slab.h>
#include <linux/uio.h>
#include <linux/wait.h>
#include <net/net_namespace.h>
#include <net/sock.h>
#include <net/tcp.h>

#define HEADER_LEN	48
#define ACK_LEN		32
#define MAX_PAGES	256
#define MAX_WINDOW	1024
/* Requests that one acknowledgement may stand for. */
#define MAX_TOGETHER	8
/* What is lost would be waited for no longer than this. */
#define TIMEOUT		(10 * HZ)

static bool splice = true;
module_param(splice, bool, 0444);
MODULE_PARM_DESC(splice, "lend the pages to the network instead of copying them");
static bool coalesce;
module_param(coalesce, bool, 0444);
MODULE_PARM_DESC(coalesce, "acknowledge several requests at once");
static unsigned int window = 1;
module_param(window, uint, 0444);
MODULE_PARM_DESC(window, "requests in flight");
static unsigned int length = 4096;
module_param(length, uint, 0444);
MODULE_PARM_DESC(length, "bytes of data in a request, whole pages");
static unsigned int milliseconds = 2000;
module_param(milliseconds, uint, 0444);
MODULE_PARM_DESC(milliseconds, "how long to measure");
static unsigned long operations;
module_param(operations, ulong, 0444);
MODULE_PARM_DESC(operations, "outcome: requests acknowledged in the time measured");
static unsigned long nanoseconds;
module_param(nanoseconds, ulong, 0444);
MODULE_PARM_DESC(nanoseconds, "outcome: the time measured");

struct echo {
	struct socket *client;
	struct socket *server;
	struct semaphore free;
	atomic_long_t acknowledged;
	/* Why a thread ended before it was told to. */
	atomic_t error;
	unsigned int pages;
	struct bio_vec bvec[MAX_PAGES];
	void *incoming;
};

static int receive(struct socket *sock, void *to, size_t bytes)
{
	struct msghdr msg = { .msg_flags = MSG_WAITALL };
	struct kvec vec = { .iov_base = to, .iov_len = bytes };
	int got = kernel_recvmsg(sock, &msg, &vec, 1, bytes, MSG_WAITALL);

	if (got < 0)
		return got;
	return got == bytes ? 0 : -ECONNRESET;
}

static int send_bytes(struct socket *sock, void *from, size_t bytes, int flags)
{
	struct msghdr msg = { .msg_flags = flags | MSG_NOSIGNAL };
	struct kvec vec = { .iov_base = from, .iov_len = bytes };
	int sent = kernel_sendmsg(sock, &msg, &vec, 1, bytes);

	if (sent < 0)
		return sent;
	return sent == bytes ? 0 : -ECONNRESET;
}

static int send_pages(struct echo *echo)
{
	struct msghdr msg = { .msg_flags = MSG_NOSIGNAL };

	if (splice)
		msg.msg_flags |= MSG_SPLICE_PAGES;
	iov_iter_bvec(&msg.msg_iter, ITER_SOURCE, echo->bvec, echo->pages, length);
	while (msg_data_left(&msg)) {
		int sent = sock_sendmsg(echo->client, &msg);

		if (sent < 0)
			return sent;
	}
	return 0;
}

/* The end of a thread: its error, and the wait for kthread_stop(). */
static int finish(struct echo *echo, int error)
{
	if (error && !kthread_should_stop())
		atomic_cmpxchg(&echo->error, 0, error);
	while (!kthread_should_stop()) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (!kthread_should_stop())
			schedule();
		__set_current_state(TASK_RUNNING);
	}
	return 0;
}

static int client(void *data)
{
	struct echo *echo = data;
	char header[HEADER_LEN] = { 0 };
	int error = 0;

	while (!error && !kthread_should_stop()) {
		if (down_timeout(&echo->free, HZ / 10))
			continue;
		error = send_bytes(echo->client, header, sizeof(header), MSG_MORE);
		if (!error)
			error = send_pages(echo);
	}
	return finish(echo, error);
}

static int server(void *data)
{
	struct echo *echo = data;
	char header[HEADER_LEN];
	u32 ack[ACK_LEN / sizeof(u32)] = { 0 };
	int error = 0;

	while (!error && !kthread_should_stop()) {
		error = receive(echo->server, header, sizeof(header));
		if (!error)
			error = receive(echo->server, echo->incoming, length);
		if (error)
			break;
		ack[0]++;
		if (coalesce && ack[0] < MAX_TOGETHER && tcp_inq(echo->server->sk) > 0)
			continue;
		error = send_bytes(echo->server, ack, sizeof(ack), 0);
		ack[0] = 0;
	}
	return finish(echo, error);
}

static int acknowledged(void *data)
{
	struct echo *echo = data;
	u32 ack[ACK_LEN / sizeof(u32)];
	int error = 0;
	u32 n;

	while (!error && !kthread_should_stop()) {
		error = receive(echo->client, ack, sizeof(ack));
		if (error)
			break;
		atomic_long_add(ack[0], &echo->acknowledged);
		for (n = 0; n < ack[0]; n++)
			up(&echo->free);
	}
	return finish(echo, error);
}

/* A connection of this machine with itself, at a port that is free. */
static int connect_both(struct echo *echo)
{
	struct sockaddr_storage at = { 0 };
	struct sockaddr_in *address = (struct sockaddr_in *)&at;
	struct socket *listener;
	int error;

	error = sock_create_kern(&init_net, AF_INET, SOCK_STREAM, IPPROTO_TCP, &listener);
	if (error)
		return error;
	address->sin_family = AF_INET;
	address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	error = kernel_bind(listener, (void *)&at, sizeof(*address));
	if (!error)
		error = kernel_listen(listener, 1);
	if (!error)
		error = min(kernel_getsockname(listener, (void *)&at), 0);
	if (!error)
		error = sock_create_kern(&init_net, AF_INET, SOCK_STREAM, IPPROTO_TCP, &echo->client);
	if (!error)
		error = kernel_connect(echo->client, (void *)&at, sizeof(*address), 0);
	if (!error)
		error = kernel_accept(listener, &echo->server, 0);
	sock_release(listener);
	if (error)
		return error;
	tcp_sock_set_nodelay(echo->client->sk);
	tcp_sock_set_nodelay(echo->server->sk);
	echo->client->sk->sk_sndtimeo = TIMEOUT;
	echo->server->sk->sk_sndtimeo = TIMEOUT;
	return 0;
}

static void release(struct echo *echo)
{
	unsigned int n;

	if (echo->client)
		sock_release(echo->client);
	if (echo->server)
		sock_release(echo->server);
	/* The network may still hold pages that it was lent; it has references of its own. */
	for (n = 0; n < echo->pages; n++)
		put_page(echo->bvec[n].bv_page);
	kvfree(echo->incoming);
	kvfree(echo);
}

static struct echo *prepare(void)
{
	struct echo *echo = kvzalloc(sizeof(*echo), GFP_KERNEL);
	int error = -ENOMEM;

	if (!echo)
		return ERR_PTR(-ENOMEM);
	sema_init(&echo->free, window);
	echo->incoming = kvmalloc(length, GFP_KERNEL);
	if (!echo->incoming)
		goto fail;
	for (; echo->pages < length / PAGE_SIZE; echo->pages++) {
		struct page *page = alloc_page(GFP_KERNEL | __GFP_ZERO);

		if (!page)
			goto fail;
		bvec_set_page(&echo->bvec[echo->pages], page, PAGE_SIZE, 0);
	}
	error = connect_both(echo);
	if (!error)
		return echo;
fail:
	release(echo);
	return ERR_PTR(error);
}

static int measure(struct echo *echo)
{
	int (*const bodies[])(void *) = { server, acknowledged, client };
	static const char *const names[] = { "echo_server", "echo_acks", "echo_client" };
	struct task_struct *threads[ARRAY_SIZE(bodies)];
	unsigned int started = 0;
	int error = 0;
	ktime_t begin;
	long before;

	while (started < ARRAY_SIZE(bodies)) {
		struct task_struct *thread = kthread_run(bodies[started], echo, "%s", names[started]);

		if (IS_ERR(thread)) {
			error = PTR_ERR(thread);
			break;
		}
		threads[started++] = thread;
	}
	if (!error) {
		/* The first moments, in which the connection finds its pace, do not count. */
		msleep(milliseconds / 8);
		begin = ktime_get();
		before = atomic_long_read(&echo->acknowledged);
		msleep(milliseconds);
		operations = atomic_long_read(&echo->acknowledged) - before;
		nanoseconds = ktime_to_ns(ktime_sub(ktime_get(), begin));
		error = atomic_read(&echo->error);
	}
	/* Wakes whoever waits for the other side. */
	kernel_sock_shutdown(echo->client, SHUT_RDWR);
	kernel_sock_shutdown(echo->server, SHUT_RDWR);
	while (started)
		kthread_stop(threads[--started]);
	return error;
}

static int __init bench_echo_init(void)
{
	struct echo *echo;
	int error;

	if (!window || window > MAX_WINDOW || !length || length % PAGE_SIZE ||
	    length > MAX_PAGES * PAGE_SIZE || milliseconds < 8 || milliseconds > 60000)
		return -EINVAL;
	echo = prepare();
	if (IS_ERR(echo))
		return PTR_ERR(echo);
	error = measure(echo);
	release(echo);
	return error;
}

static void __exit bench_echo_exit(void)
{
}

module_init(bench_echo_init);
module_exit(bench_echo_exit);
MODULE_DESCRIPTION("Requests and acknowledgements over a loopback connection");
MODULE_LICENSE("GPL");
