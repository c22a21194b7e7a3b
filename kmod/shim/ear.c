// SPDX-License-Identifier: GPL-2.0
#include <linux/net.h>
#include <linux/skbuff.h>
#include <linux/tcp.h>
#include <net/sock.h>
#include <net/tcp.h>

#include "shim.h"

/*
 * What arrives on a connection, offered to somebody in the context of the
 * network, before the thread that receives is woken: most of what a source is
 * told takes less time than to wake a thread.
 *
 * The ear is open only while that thread waits between two messages. `open` and
 * `wake` are changed under the lock of the socket, and so is what has arrived.
 */

static int netraid_ear_offer(read_descriptor_t *desc, struct sk_buff *skb, unsigned int offset, size_t len)
{
	struct netraid_ear *ear = desc->arg.data;
	unsigned int part = min_t(size_t, len, sizeof(ear->room));

	if (ear->wake || skb_copy_bits(skb, offset, ear->room, part))
		return 0;
	return ear->hear(ear->context, ear->room, part, &ear->wake);
}

/* Something is there that the thread has to look at. */
static bool netraid_ear_is_due(struct sock *sk, struct netraid_ear *ear)
{
	return ear->wake || sk->sk_err || (sk->sk_shutdown & RCV_SHUTDOWN) || sk->sk_state == TCP_CLOSE ||
	       !skb_queue_empty(&sk->sk_receive_queue);
}

static void netraid_ear_data_ready(struct sock *sk)
{
	read_descriptor_t desc = { .count = 1 };
	struct netraid_ear *ear;

	read_lock_bh(&sk->sk_callback_lock);
	ear = sk->sk_user_data;
	if (ear) {
		desc.arg.data = ear;
		if (ear->open)
			tcp_read_sock(sk, &desc, netraid_ear_offer);
		if (!ear->open || netraid_ear_is_due(sk, ear))
			ear->data_ready(sk);
	}
	read_unlock_bh(&sk->sk_callback_lock);
}

/* The socket is connected, and has no other ear. */
void netraid_ear_put(struct socket *sock, struct netraid_ear *ear)
{
	struct sock *sk = sock->sk;

	write_lock_bh(&sk->sk_callback_lock);
	ear->data_ready = sk->sk_data_ready;
	sk->sk_user_data = ear;
	sk->sk_data_ready = netraid_ear_data_ready;
	write_unlock_bh(&sk->sk_callback_lock);
}

/* Nobody waits any more; when this returns, nothing is offered any more. */
void netraid_ear_remove(struct socket *sock, struct netraid_ear *ear)
{
	struct sock *sk = sock->sk;

	write_lock_bh(&sk->sk_callback_lock);
	sk->sk_data_ready = ear->data_ready;
	sk->sk_user_data = NULL;
	write_unlock_bh(&sk->sk_callback_lock);
}

/* Waits as long as one receive does for something that was not taken, or the end of the connection. */
bool netraid_ear_wait(struct socket *sock, struct netraid_ear *ear)
{
	struct sock *sk = sock->sk;
	long left = sock_rcvtimeo(sk, false);
	bool due;

	lock_sock(sk);
	if (!netraid_ear_is_due(sk, ear)) {
		ear->open = true;
		sk_wait_data(sk, &left, NULL);
		ear->open = false;
	}
	due = netraid_ear_is_due(sk, ear);
	release_sock(sk);
	return due;
}
