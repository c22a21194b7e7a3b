// SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause)
/* Do not edit directly, auto-generated from: */
/*	kmod/spec/netraid.yaml */
/* YNL-GEN kernel source */
/* To regenerate run: tools/net/ynl/ynl-regen.sh */

#include <net/netlink.h>
#include <net/genetlink.h>

#include "netraid_nl.h"

#include <uapi/linux/netraid.h>

/* Integer value ranges */
static const struct netlink_range_validation netraid_a_mirror_id_range = {
	.max	= 1048575ULL,
};

static const struct netlink_range_validation netraid_a_mirror_chunk_size_range = {
	.min	= 4096ULL,
	.max	= 1073741824ULL,
};

static const struct netlink_range_validation netraid_a_mirror_port_range = {
	.min	= 1ULL,
	.max	= 65535ULL,
};

static const struct netlink_range_validation netraid_a_mirror_heartbeat_ms_range = {
	.min	= 50ULL,
	.max	= 60000ULL,
};

static const struct netlink_range_validation netraid_a_mirror_timeout_ms_range = {
	.min	= 200ULL,
	.max	= 600000ULL,
};

static const struct netlink_range_validation netraid_a_leg_port_range = {
	.min	= 1ULL,
	.max	= 65535ULL,
};

static const struct netlink_range_validation netraid_a_leg_heartbeat_ms_range = {
	.min	= 50ULL,
	.max	= 60000ULL,
};

static const struct netlink_range_validation netraid_a_leg_timeout_ms_range = {
	.min	= 200ULL,
	.max	= 600000ULL,
};

/* Common nested types */
const struct nla_policy netraid_leg_nl_policy[NETRAID_A_LEG_PRIORITY + 1] = {
	[NETRAID_A_LEG_ID] = NLA_POLICY_MAX(NLA_U32, NETRAID_LEGS_MAX),
	[NETRAID_A_LEG_ADDRESS] = NLA_POLICY_MAX_LEN(NETRAID_ADDRESS_MAX),
	[NETRAID_A_LEG_PORT] = NLA_POLICY_FULL_RANGE(NLA_U32, &netraid_a_leg_port_range),
	[NETRAID_A_LEG_SCOPE_ID] = { .type = NLA_U32, },
	[NETRAID_A_LEG_PEER_NAME] = { .type = NLA_NUL_STRING, .len = NETRAID_NAME_MAX, },
	[NETRAID_A_LEG_PEER_UUID] = NLA_POLICY_EXACT_LEN(NETRAID_UUID_LEN),
	[NETRAID_A_LEG_STATE] = NLA_POLICY_MAX(NLA_U32, 3),
	[NETRAID_A_LEG_CONNECTION] = NLA_POLICY_MAX(NLA_U32, 4),
	[NETRAID_A_LEG_REPLICATION] = NLA_POLICY_MAX(NLA_U32, 1),
	[NETRAID_A_LEG_HEARTBEAT_MS] = NLA_POLICY_FULL_RANGE(NLA_U32, &netraid_a_leg_heartbeat_ms_range),
	[NETRAID_A_LEG_TIMEOUT_MS] = NLA_POLICY_FULL_RANGE(NLA_U32, &netraid_a_leg_timeout_ms_range),
	[NETRAID_A_LEG_REASON] = { .type = NLA_NUL_STRING, .len = NETRAID_REASON_MAX, },
	[NETRAID_A_LEG_CHUNKS] = { .type = NLA_UINT, },
	[NETRAID_A_LEG_DIRTY_CHUNKS] = { .type = NLA_UINT, },
	[NETRAID_A_LEG_RESYNC_TOTAL] = { .type = NLA_UINT, },
	[NETRAID_A_LEG_RESYNC_DONE] = { .type = NLA_UINT, },
	[NETRAID_A_LEG_RESYNC_ELAPSED_MS] = { .type = NLA_UINT, },
	[NETRAID_A_LEG_RESYNC_FULL] = { .type = NLA_FLAG, },
	[NETRAID_A_LEG_RESYNCS] = { .type = NLA_UINT, },
	[NETRAID_A_LEG_RESYNCED_BYTES] = { .type = NLA_UINT, },
	[NETRAID_A_LEG_REPLICATED_BYTES] = { .type = NLA_UINT, },
	[NETRAID_A_LEG_SENT_BYTES] = { .type = NLA_UINT, },
	[NETRAID_A_LEG_RECEIVED_BYTES] = { .type = NLA_UINT, },
	[NETRAID_A_LEG_CONNECTS] = { .type = NLA_UINT, },
	[NETRAID_A_LEG_ATTEMPTS] = { .type = NLA_UINT, },
	[NETRAID_A_LEG_HEARD_MS] = { .type = NLA_UINT, },
	[NETRAID_A_LEG_RETRY_MS] = { .type = NLA_UINT, },
	[NETRAID_A_LEG_IN_FLIGHT] = { .type = NLA_U32, },
	[NETRAID_A_LEG_SKIPPED_BYTES] = { .type = NLA_UINT, },
	[NETRAID_A_LEG_ZEROED_BYTES] = { .type = NLA_UINT, },
	[NETRAID_A_LEG_CHECKSUMS] = { .type = NLA_FLAG, },
	[NETRAID_A_LEG_NO_CHECKSUMS] = { .type = NLA_FLAG, },
	[NETRAID_A_LEG_UNCONFIRMED_BYTES] = { .type = NLA_UINT, },
	[NETRAID_A_LEG_OLDEST_MS] = { .type = NLA_UINT, },
	[NETRAID_A_LEG_SYNC_FALLBACKS] = { .type = NLA_UINT, },
	[NETRAID_A_LEG_UNCONFIRMED] = { .type = NLA_U32, },
	[NETRAID_A_LEG_CONGESTION] = NLA_POLICY_MAX(NLA_U32, 1),
	[NETRAID_A_LEG_FALLS] = { .type = NLA_UINT, },
	[NETRAID_A_LEG_PRIORITY] = { .type = NLA_U32, },
};

/* NETRAID_CMD_MIRROR_GET - do */
static const struct nla_policy netraid_mirror_get_nl_policy[NETRAID_A_MIRROR_ID + 1] = {
	[NETRAID_A_MIRROR_NAME] = { .type = NLA_NUL_STRING, .len = NETRAID_NAME_MAX, },
	[NETRAID_A_MIRROR_ID] = NLA_POLICY_FULL_RANGE(NLA_U32, &netraid_a_mirror_id_range),
};

/* NETRAID_CMD_MIRROR_NEW - do */
static const struct nla_policy netraid_mirror_new_nl_policy[NETRAID_A_MIRROR_PRIORITY + 1] = {
	[NETRAID_A_MIRROR_NAME] = { .type = NLA_NUL_STRING, .len = NETRAID_NAME_MAX, },
	[NETRAID_A_MIRROR_ID] = NLA_POLICY_FULL_RANGE(NLA_U32, &netraid_a_mirror_id_range),
	[NETRAID_A_MIRROR_ROLE] = NLA_POLICY_MAX(NLA_U32, 2),
	[NETRAID_A_MIRROR_DISK] = { .type = NLA_NUL_STRING, .len = NETRAID_PATH_MAX, },
	[NETRAID_A_MIRROR_CHUNK_SIZE] = NLA_POLICY_FULL_RANGE(NLA_U32, &netraid_a_mirror_chunk_size_range),
	[NETRAID_A_MIRROR_NODE_NAME] = { .type = NLA_NUL_STRING, .len = NETRAID_NAME_MAX, },
	[NETRAID_A_MIRROR_NODE_UUID] = NLA_POLICY_EXACT_LEN(NETRAID_UUID_LEN),
	[NETRAID_A_MIRROR_ADDRESS] = NLA_POLICY_MAX_LEN(NETRAID_ADDRESS_MAX),
	[NETRAID_A_MIRROR_PORT] = NLA_POLICY_FULL_RANGE(NLA_U32, &netraid_a_mirror_port_range),
	[NETRAID_A_MIRROR_SCOPE_ID] = { .type = NLA_U32, },
	[NETRAID_A_MIRROR_HEARTBEAT_MS] = NLA_POLICY_FULL_RANGE(NLA_U32, &netraid_a_mirror_heartbeat_ms_range),
	[NETRAID_A_MIRROR_TIMEOUT_MS] = NLA_POLICY_FULL_RANGE(NLA_U32, &netraid_a_mirror_timeout_ms_range),
	[NETRAID_A_MIRROR_META_PATH] = { .type = NLA_NUL_STRING, .len = NETRAID_PATH_MAX, },
	[NETRAID_A_MIRROR_META_INTERNAL] = { .type = NLA_FLAG, },
	[NETRAID_A_MIRROR_NO_BITMAP] = { .type = NLA_FLAG, },
	[NETRAID_A_MIRROR_ATTACH] = { .type = NLA_FLAG, },
	[NETRAID_A_MIRROR_FRESH] = { .type = NLA_FLAG, },
	[NETRAID_A_MIRROR_NO_FULL_SYNC] = { .type = NLA_FLAG, },
	[NETRAID_A_MIRROR_ASYNC_LIMIT] = { .type = NLA_U32, },
	[NETRAID_A_MIRROR_RESYNC_RATE] = { .type = NLA_UINT, },
	[NETRAID_A_MIRROR_ASYNC_PERMITTED] = { .type = NLA_FLAG, },
	[NETRAID_A_MIRROR_SOURCE_NAME] = { .type = NLA_NUL_STRING, .len = NETRAID_NAME_MAX, },
	[NETRAID_A_MIRROR_SAME_MACHINE] = { .type = NLA_FLAG, },
	[NETRAID_A_MIRROR_ON_IO_ERROR] = NLA_POLICY_MAX(NLA_U32, 1),
	[NETRAID_A_MIRROR_PRIORITY] = { .type = NLA_U32, },
};

/* NETRAID_CMD_MIRROR_DEL - do */
static const struct nla_policy netraid_mirror_del_nl_policy[NETRAID_A_MIRROR_FORCE + 1] = {
	[NETRAID_A_MIRROR_NAME] = { .type = NLA_NUL_STRING, .len = NETRAID_NAME_MAX, },
	[NETRAID_A_MIRROR_FORCE] = { .type = NLA_FLAG, },
};

/* NETRAID_CMD_MIRROR_STOP - do */
static const struct nla_policy netraid_mirror_stop_nl_policy[NETRAID_A_MIRROR_KEEP_ROLE + 1] = {
	[NETRAID_A_MIRROR_NAME] = { .type = NLA_NUL_STRING, .len = NETRAID_NAME_MAX, },
	[NETRAID_A_MIRROR_FORCE] = { .type = NLA_FLAG, },
	[NETRAID_A_MIRROR_KEEP_ROLE] = { .type = NLA_FLAG, },
};

/* NETRAID_CMD_MIRROR_PROMOTE - do */
static const struct nla_policy netraid_mirror_promote_nl_policy[NETRAID_A_MIRROR_NAME + 1] = {
	[NETRAID_A_MIRROR_NAME] = { .type = NLA_NUL_STRING, .len = NETRAID_NAME_MAX, },
};

/* NETRAID_CMD_MIRROR_DEMOTE - do */
static const struct nla_policy netraid_mirror_demote_nl_policy[NETRAID_A_MIRROR_TIMEOUT_MS + 1] = {
	[NETRAID_A_MIRROR_NAME] = { .type = NLA_NUL_STRING, .len = NETRAID_NAME_MAX, },
	[NETRAID_A_MIRROR_ADDRESS] = NLA_POLICY_MAX_LEN(NETRAID_ADDRESS_MAX),
	[NETRAID_A_MIRROR_PORT] = NLA_POLICY_FULL_RANGE(NLA_U32, &netraid_a_mirror_port_range),
	[NETRAID_A_MIRROR_SCOPE_ID] = { .type = NLA_U32, },
	[NETRAID_A_MIRROR_HEARTBEAT_MS] = NLA_POLICY_FULL_RANGE(NLA_U32, &netraid_a_mirror_heartbeat_ms_range),
	[NETRAID_A_MIRROR_TIMEOUT_MS] = NLA_POLICY_FULL_RANGE(NLA_U32, &netraid_a_mirror_timeout_ms_range),
};

/* NETRAID_CMD_LEG_NEW - do */
static const struct nla_policy netraid_leg_new_nl_policy[NETRAID_A_MIRROR_NO_FULL_SYNC + 1] = {
	[NETRAID_A_MIRROR_NAME] = { .type = NLA_NUL_STRING, .len = NETRAID_NAME_MAX, },
	[NETRAID_A_MIRROR_LEG] = NLA_POLICY_NESTED(netraid_leg_nl_policy),
	[NETRAID_A_MIRROR_NO_FULL_SYNC] = { .type = NLA_FLAG, },
};

/* NETRAID_CMD_LEG_DEL - do */
static const struct nla_policy netraid_leg_del_nl_policy[NETRAID_A_MIRROR_LEG + 1] = {
	[NETRAID_A_MIRROR_NAME] = { .type = NLA_NUL_STRING, .len = NETRAID_NAME_MAX, },
	[NETRAID_A_MIRROR_LEG] = NLA_POLICY_NESTED(netraid_leg_nl_policy),
};

/* NETRAID_CMD_LEG_PAUSE - do */
static const struct nla_policy netraid_leg_pause_nl_policy[NETRAID_A_MIRROR_LEG + 1] = {
	[NETRAID_A_MIRROR_NAME] = { .type = NLA_NUL_STRING, .len = NETRAID_NAME_MAX, },
	[NETRAID_A_MIRROR_LEG] = NLA_POLICY_NESTED(netraid_leg_nl_policy),
};

/* NETRAID_CMD_LEG_RESUME - do */
static const struct nla_policy netraid_leg_resume_nl_policy[NETRAID_A_MIRROR_LEG + 1] = {
	[NETRAID_A_MIRROR_NAME] = { .type = NLA_NUL_STRING, .len = NETRAID_NAME_MAX, },
	[NETRAID_A_MIRROR_LEG] = NLA_POLICY_NESTED(netraid_leg_nl_policy),
};

/* NETRAID_CMD_LEG_FULL - do */
static const struct nla_policy netraid_leg_full_nl_policy[NETRAID_A_MIRROR_LEG + 1] = {
	[NETRAID_A_MIRROR_NAME] = { .type = NLA_NUL_STRING, .len = NETRAID_NAME_MAX, },
	[NETRAID_A_MIRROR_LEG] = NLA_POLICY_NESTED(netraid_leg_nl_policy),
};

/* NETRAID_CMD_MIRROR_START - do */
static const struct nla_policy netraid_mirror_start_nl_policy[NETRAID_A_MIRROR_OVERRIDE + 1] = {
	[NETRAID_A_MIRROR_NAME] = { .type = NLA_NUL_STRING, .len = NETRAID_NAME_MAX, },
	[NETRAID_A_MIRROR_MODE] = NLA_POLICY_MAX(NLA_U32, 4),
	[NETRAID_A_MIRROR_OVERRIDE] = { .type = NLA_FLAG, },
	[NETRAID_A_MIRROR_FORCE] = { .type = NLA_FLAG, },
};

/* NETRAID_CMD_MIRROR_SWITCHOVER - do */
static const struct nla_policy netraid_mirror_switchover_nl_policy[NETRAID_A_MIRROR_NAME + 1] = {
	[NETRAID_A_MIRROR_NAME] = { .type = NLA_NUL_STRING, .len = NETRAID_NAME_MAX, },
};

/* NETRAID_CMD_MIRROR_SET - do */
static const struct nla_policy netraid_mirror_set_nl_policy[NETRAID_A_MIRROR_ON_IO_ERROR + 1] = {
	[NETRAID_A_MIRROR_NAME] = { .type = NLA_NUL_STRING, .len = NETRAID_NAME_MAX, },
	[NETRAID_A_MIRROR_RESYNC_RATE] = { .type = NLA_UINT, },
	[NETRAID_A_MIRROR_ASYNC_LIMIT] = { .type = NLA_U32, },
	[NETRAID_A_MIRROR_ON_IO_ERROR] = NLA_POLICY_MAX(NLA_U32, 1),
};

/* NETRAID_CMD_MIRROR_ATTACH - do */
static const struct nla_policy netraid_mirror_attach_nl_policy[NETRAID_A_MIRROR_DISK + 1] = {
	[NETRAID_A_MIRROR_NAME] = { .type = NLA_NUL_STRING, .len = NETRAID_NAME_MAX, },
	[NETRAID_A_MIRROR_DISK] = { .type = NLA_NUL_STRING, .len = NETRAID_PATH_MAX, },
};

/* Ops table for netraid */
static const struct genl_split_ops netraid_nl_ops[] = {
	{
		.cmd		= NETRAID_CMD_MIRROR_GET,
		.doit		= netraid_nl_mirror_get_doit,
		.policy		= netraid_mirror_get_nl_policy,
		.maxattr	= NETRAID_A_MIRROR_ID,
		.flags		= GENL_CMD_CAP_DO,
	},
	{
		.cmd	= NETRAID_CMD_MIRROR_GET,
		.start	= netraid_nl_mirror_get_start,
		.dumpit	= netraid_nl_mirror_get_dumpit,
		.flags	= GENL_CMD_CAP_DUMP,
	},
	{
		.cmd		= NETRAID_CMD_MIRROR_NEW,
		.doit		= netraid_nl_mirror_new_doit,
		.policy		= netraid_mirror_new_nl_policy,
		.maxattr	= NETRAID_A_MIRROR_PRIORITY,
		.flags		= GENL_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= NETRAID_CMD_MIRROR_DEL,
		.doit		= netraid_nl_mirror_del_doit,
		.policy		= netraid_mirror_del_nl_policy,
		.maxattr	= NETRAID_A_MIRROR_FORCE,
		.flags		= GENL_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= NETRAID_CMD_MIRROR_STOP,
		.doit		= netraid_nl_mirror_stop_doit,
		.policy		= netraid_mirror_stop_nl_policy,
		.maxattr	= NETRAID_A_MIRROR_KEEP_ROLE,
		.flags		= GENL_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= NETRAID_CMD_MIRROR_PROMOTE,
		.doit		= netraid_nl_mirror_promote_doit,
		.policy		= netraid_mirror_promote_nl_policy,
		.maxattr	= NETRAID_A_MIRROR_NAME,
		.flags		= GENL_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= NETRAID_CMD_MIRROR_DEMOTE,
		.doit		= netraid_nl_mirror_demote_doit,
		.policy		= netraid_mirror_demote_nl_policy,
		.maxattr	= NETRAID_A_MIRROR_TIMEOUT_MS,
		.flags		= GENL_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= NETRAID_CMD_LEG_NEW,
		.doit		= netraid_nl_leg_new_doit,
		.policy		= netraid_leg_new_nl_policy,
		.maxattr	= NETRAID_A_MIRROR_NO_FULL_SYNC,
		.flags		= GENL_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= NETRAID_CMD_LEG_DEL,
		.doit		= netraid_nl_leg_del_doit,
		.policy		= netraid_leg_del_nl_policy,
		.maxattr	= NETRAID_A_MIRROR_LEG,
		.flags		= GENL_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= NETRAID_CMD_LEG_PAUSE,
		.doit		= netraid_nl_leg_pause_doit,
		.policy		= netraid_leg_pause_nl_policy,
		.maxattr	= NETRAID_A_MIRROR_LEG,
		.flags		= GENL_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= NETRAID_CMD_LEG_RESUME,
		.doit		= netraid_nl_leg_resume_doit,
		.policy		= netraid_leg_resume_nl_policy,
		.maxattr	= NETRAID_A_MIRROR_LEG,
		.flags		= GENL_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= NETRAID_CMD_LEG_FULL,
		.doit		= netraid_nl_leg_full_doit,
		.policy		= netraid_leg_full_nl_policy,
		.maxattr	= NETRAID_A_MIRROR_LEG,
		.flags		= GENL_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= NETRAID_CMD_MIRROR_START,
		.doit		= netraid_nl_mirror_start_doit,
		.policy		= netraid_mirror_start_nl_policy,
		.maxattr	= NETRAID_A_MIRROR_OVERRIDE,
		.flags		= GENL_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= NETRAID_CMD_MIRROR_SWITCHOVER,
		.doit		= netraid_nl_mirror_switchover_doit,
		.policy		= netraid_mirror_switchover_nl_policy,
		.maxattr	= NETRAID_A_MIRROR_NAME,
		.flags		= GENL_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= NETRAID_CMD_MIRROR_SET,
		.doit		= netraid_nl_mirror_set_doit,
		.policy		= netraid_mirror_set_nl_policy,
		.maxattr	= NETRAID_A_MIRROR_ON_IO_ERROR,
		.flags		= GENL_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= NETRAID_CMD_MIRROR_ATTACH,
		.doit		= netraid_nl_mirror_attach_doit,
		.policy		= netraid_mirror_attach_nl_policy,
		.maxattr	= NETRAID_A_MIRROR_DISK,
		.flags		= GENL_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
};

static const struct genl_multicast_group netraid_nl_mcgrps[] = {
	[NETRAID_NLGRP_EVENTS] = { "events", },
};

struct genl_family netraid_nl_family __ro_after_init = {
	.name		= NETRAID_FAMILY_NAME,
	.version	= NETRAID_FAMILY_VERSION,
	.netnsok	= true,
	.parallel_ops	= true,
	.module		= THIS_MODULE,
	.split_ops	= netraid_nl_ops,
	.n_split_ops	= ARRAY_SIZE(netraid_nl_ops),
	.mcgrps		= netraid_nl_mcgrps,
	.n_mcgrps	= ARRAY_SIZE(netraid_nl_mcgrps),
};
