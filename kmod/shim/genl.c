// SPDX-License-Identifier: GPL-2.0
#include <linux/capability.h>
#include <linux/rcupdate.h>
#include <net/genetlink.h>
#include <net/sock.h>

#include "../gen/netraid_nl.h"
#include "shim.h"

/*
 * The attributes of a request are in an array that ends with the last one that its operation takes. Whoever serves
 * several operations asks for those of all of them.
 */
struct nlattr *netraid_attr(const struct genl_info *info, int type)
{
	const struct genl_family *family = &netraid_nl_family;
	int i;

	for (i = 0; i < family->n_split_ops; i++) {
		const struct genl_split_ops *op = &family->split_ops[i];

		if (op->cmd == info->genlhdr->cmd && (op->flags & GENL_CMD_CAP_DO))
			return type <= op->maxattr ? info->attrs[type] : NULL;
	}
	return NULL;
}

/* An attribute inside a nest; the family's policy has already checked all of them. */
int netraid_attr_nest(struct nlattr *nest, int type, struct genl_info *info, struct nlattr **found)
{
	*found = nla_find(nla_data(nest), nla_len(nest), type);
	return *found ? 0 : -ENOENT;
}

/* static inlines in net/netlink.h */
u32 netraid_attr_u32(const struct nlattr *attr)
{
	return nla_get_u32(attr);
}

const void *netraid_attr_data(const struct nlattr *attr)
{
	return nla_data(attr);
}

unsigned int netraid_attr_len(const struct nlattr *attr)
{
	return nla_len(attr);
}

bool netraid_info_is_admin(struct sk_buff *request)
{
	return netlink_capable(request, CAP_NET_ADMIN) && netlink_capable(request, CAP_SYS_ADMIN);
}

struct net *netraid_info_net(const struct genl_info *info)
{
	return genl_info_net(info);
}

/* The text is not copied: it has to live until the acknowledgement is built. */
void netraid_info_error(struct genl_info *info, const char *text)
{
	if (info->extack)
		info->extack->_msg = text;
}

void netraid_info_bad_attr(struct genl_info *info, const struct nlattr *attr)
{
	NL_SET_BAD_ATTR(info->extack, attr);
}

void netraid_info_missing(struct genl_info *info, int type)
{
	NL_SET_ERR_ATTR_MISS(info->extack, NULL, type);
}

void netraid_dump_error(struct netlink_callback *cb, const char *text)
{
	if (cb->extack)
		cb->extack->_msg = text;
}

struct sk_buff *netraid_msg_new(unsigned int size)
{
	return genlmsg_new(size, GFP_KERNEL);
}

void netraid_msg_free(struct sk_buff *msg)
{
	nlmsg_free(msg);
}

void *netraid_reply_start(struct sk_buff *msg, struct genl_info *info, u8 cmd)
{
	return genlmsg_put_reply(msg, info, &netraid_nl_family, 0, cmd);
}

void *netraid_dump_start(struct sk_buff *msg, struct netlink_callback *cb, u8 cmd)
{
	return genlmsg_put(msg, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq,
			   &netraid_nl_family, NLM_F_MULTI, cmd);
}

void *netraid_event_start(struct sk_buff *msg, u8 cmd)
{
	return genlmsg_put(msg, 0, 0, &netraid_nl_family, 0, cmd);
}

void netraid_msg_end(struct sk_buff *msg, void *header)
{
	genlmsg_end(msg, header);
}

void netraid_msg_cancel(struct sk_buff *msg, void *header)
{
	genlmsg_cancel(msg, header);
}

int netraid_msg_reply(struct sk_buff *msg, struct genl_info *info)
{
	return genlmsg_reply(msg, info);
}

/* To the listeners of every network namespace, since the disks of a machine belong to none. */
void netraid_msg_multicast(struct sk_buff *msg, unsigned int group)
{
	rcu_read_lock();
	genlmsg_multicast_allns(&netraid_nl_family, msg, 0, group);
	rcu_read_unlock();
}

/* Called before a dump: a mirror with the longest path has to fit into one of its messages. */
int netraid_nl_mirror_get_start(struct netlink_callback *cb)
{
	cb->min_dump_alloc = NETRAID_MSG_SIZE;
	return 0;
}

/* What a dump remembers between two of its messages: four words. */
u64 *netraid_dump_cursor(struct netlink_callback *cb)
{
	BUILD_BUG_ON(sizeof(cb->ctx) < 4 * sizeof(u64));
	return (u64 *)cb->ctx;
}

/* Tells the reader when the mirrors changed while it was reading. */
void netraid_dump_generation(struct netlink_callback *cb, void *header, u64 generation)
{
	cb->seq = (u32)generation ?: 1;
	genl_dump_check_consistent(cb, header);
}

int netraid_put_u32(struct sk_buff *msg, int type, u32 value)
{
	return nla_put_u32(msg, type, value);
}

int netraid_put_uint(struct sk_buff *msg, int type, u64 value)
{
	return nla_put_uint(msg, type, value);
}

int netraid_put_flag(struct sk_buff *msg, int type)
{
	return nla_put_flag(msg, type);
}

int netraid_put_bytes(struct sk_buff *msg, int type, const void *data, unsigned int len)
{
	return nla_put(msg, type, len, data);
}

/* A string whose end is known by its length; the closing NUL is added. */
int netraid_put_string(struct sk_buff *msg, int type, const void *text, unsigned int len)
{
	struct nlattr *attr = nla_reserve(msg, type, len + 1);

	if (!attr)
		return -EMSGSIZE;
	memcpy(nla_data(attr), text, len);
	((char *)nla_data(attr))[len] = '\0';
	return 0;
}

struct nlattr *netraid_nest_start(struct sk_buff *msg, int type)
{
	return nla_nest_start(msg, type);
}

void netraid_nest_end(struct sk_buff *msg, struct nlattr *nest)
{
	nla_nest_end(msg, nest);
}

int netraid_family_register(void)
{
	return genl_register_family(&netraid_nl_family);
}

void netraid_family_unregister(void)
{
	genl_unregister_family(&netraid_nl_family);
}
