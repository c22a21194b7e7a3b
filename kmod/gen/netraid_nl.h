/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause) */
/* Do not edit directly, auto-generated from: */
/*	kmod/spec/netraid.yaml */
/* YNL-GEN kernel header */
/* To regenerate run: tools/net/ynl/ynl-regen.sh */

#ifndef _LINUX_NETRAID_GEN_H
#define _LINUX_NETRAID_GEN_H

#include <net/netlink.h>
#include <net/genetlink.h>

#include <uapi/linux/netraid.h>

/* Common nested types */
extern const struct nla_policy netraid_leg_nl_policy[NETRAID_A_LEG_PRIORITY + 1];

int netraid_nl_mirror_get_start(struct netlink_callback *cb);

int netraid_nl_mirror_get_doit(struct sk_buff *skb, struct genl_info *info);
int netraid_nl_mirror_get_dumpit(struct sk_buff *skb,
				 struct netlink_callback *cb);
int netraid_nl_mirror_new_doit(struct sk_buff *skb, struct genl_info *info);
int netraid_nl_mirror_del_doit(struct sk_buff *skb, struct genl_info *info);
int netraid_nl_mirror_stop_doit(struct sk_buff *skb, struct genl_info *info);
int netraid_nl_mirror_promote_doit(struct sk_buff *skb, struct genl_info *info);
int netraid_nl_mirror_demote_doit(struct sk_buff *skb, struct genl_info *info);
int netraid_nl_leg_new_doit(struct sk_buff *skb, struct genl_info *info);
int netraid_nl_leg_del_doit(struct sk_buff *skb, struct genl_info *info);
int netraid_nl_leg_pause_doit(struct sk_buff *skb, struct genl_info *info);
int netraid_nl_leg_resume_doit(struct sk_buff *skb, struct genl_info *info);
int netraid_nl_leg_full_doit(struct sk_buff *skb, struct genl_info *info);
int netraid_nl_mirror_start_doit(struct sk_buff *skb, struct genl_info *info);
int netraid_nl_mirror_switchover_doit(struct sk_buff *skb,
				      struct genl_info *info);
int netraid_nl_mirror_set_doit(struct sk_buff *skb, struct genl_info *info);
int netraid_nl_mirror_attach_doit(struct sk_buff *skb, struct genl_info *info);

enum {
	NETRAID_NLGRP_EVENTS,
};

extern struct genl_family netraid_nl_family;

#endif /* _LINUX_NETRAID_GEN_H */
