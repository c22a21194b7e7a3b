/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause) */
/* Do not edit directly, auto-generated from: */
/*	kmod/spec/netraid.yaml */
/* YNL-GEN uapi header */
/* To regenerate run: tools/net/ynl/ynl-regen.sh */

#ifndef _UAPI_LINUX_NETRAID_H
#define _UAPI_LINUX_NETRAID_H

#define NETRAID_FAMILY_NAME	"netraid"
#define NETRAID_FAMILY_VERSION	1

#define NETRAID_NAME_MAX	64
#define NETRAID_PATH_MAX	4095
#define NETRAID_REASON_MAX	255
#define NETRAID_UUID_LEN	16
#define NETRAID_ADDRESS_MAX	16
#define NETRAID_LEGS_MAX	7

/**
 * enum netraid_role - What a machine does for a mirror.
 * @NETRAID_ROLE_SOURCE: Applications read and write the block device here.
 * @NETRAID_ROLE_TARGET: The disk here receives the writes of the source.
 * @NETRAID_ROLE_STOPPED: Out of service; no block device, no connection, the
 *   disk is released.
 */
enum netraid_role {
	NETRAID_ROLE_SOURCE,
	NETRAID_ROLE_TARGET,
	NETRAID_ROLE_STOPPED,
};

/**
 * enum netraid_state - How the copy behind a leg stands.
 * @NETRAID_STATE_FULLY_OPERATIONAL: Both copies are the same and every write
 *   goes to both.
 * @NETRAID_STATE_PAUSED: An operator stopped replication; what the target
 *   misses is remembered.
 * @NETRAID_STATE_RESYNCING: The target is being brought up to date and is not
 *   usable until then.
 * @NETRAID_STATE_OUT_OF_SYNC: The target misses writes, or nothing is known of
 *   it, and no resync runs.
 */
enum netraid_state {
	NETRAID_STATE_FULLY_OPERATIONAL,
	NETRAID_STATE_PAUSED,
	NETRAID_STATE_RESYNCING,
	NETRAID_STATE_OUT_OF_SYNC,
};

/**
 * enum netraid_connection - How the connection of a leg stands.
 * @NETRAID_CONNECTION_DISCONNECTED: There is none and none is tried (on a
 *   target, waiting for the source).
 * @NETRAID_CONNECTION_WAITING: The last attempt failed; the next follows after
 *   a growing delay.
 * @NETRAID_CONNECTION_CONNECTING: A TCP connection is being made.
 * @NETRAID_CONNECTION_HANDSHAKE: The two sides are finding out whether they
 *   belong together.
 * @NETRAID_CONNECTION_CONNECTED: Both sides agreed and the connection is in
 *   use.
 */
enum netraid_connection {
	NETRAID_CONNECTION_DISCONNECTED,
	NETRAID_CONNECTION_WAITING,
	NETRAID_CONNECTION_CONNECTING,
	NETRAID_CONNECTION_HANDSHAKE,
	NETRAID_CONNECTION_CONNECTED,
};

/**
 * enum netraid_replication - When a write counts as done.
 * @NETRAID_REPLICATION_SYNCHRONOUS: When it is on the local disk and on the
 *   target's disk.
 * @NETRAID_REPLICATION_ASYNCHRONOUS: When it is on the local disk.
 */
enum netraid_replication {
	NETRAID_REPLICATION_SYNCHRONOUS,
	NETRAID_REPLICATION_ASYNCHRONOUS,
};

/**
 * enum netraid_congestion - What becomes of a write that an asynchronous leg
 *   has no room for.
 * @NETRAID_CONGESTION_BLOCK: It waits until the target has confirmed others.
 * @NETRAID_CONGESTION_BEHIND: The leg is given up for a while, and catches up
 *   by a resync.
 */
enum netraid_congestion {
	NETRAID_CONGESTION_BLOCK,
	NETRAID_CONGESTION_BEHIND,
};

/**
 * enum netraid_on_io_error - What becomes of a source's disk that fails a
 *   write.
 * @NETRAID_ON_IO_ERROR_DETACH: It is given up, and the mirror goes on with the
 *   targets that are in step.
 * @NETRAID_ON_IO_ERROR_PASS_ON: The application gets the error.
 */
enum netraid_on_io_error {
	NETRAID_ON_IO_ERROR_DETACH,
	NETRAID_ON_IO_ERROR_PASS_ON,
};

/**
 * enum netraid_disk_state - How the disk of a source stands.
 * @NETRAID_DISK_STATE_ATTACHED: It is in use.
 * @NETRAID_DISK_STATE_DETACHED: It failed and was given up; the targets in
 *   step have the data.
 * @NETRAID_DISK_STATE_LOST: The same, and no target is in step, so that reads
 *   and writes fail.
 * @NETRAID_DISK_STATE_REBUILDING: One was put in, which gets all data from a
 *   target in step.
 */
enum netraid_disk_state {
	NETRAID_DISK_STATE_ATTACHED,
	NETRAID_DISK_STATE_DETACHED,
	NETRAID_DISK_STATE_LOST,
	NETRAID_DISK_STATE_REBUILDING,
};

/**
 * enum netraid_event_kind - What happened.
 * @NETRAID_EVENT_KIND_LEG_CHANGED: The state or the connection of a leg
 *   changed.
 * @NETRAID_EVENT_KIND_RESYNC_PROGRESS: A resync goes on; at most one a second
 *   for each leg.
 * @NETRAID_EVENT_KIND_RESYNC_DONE: A resync is complete and the target is
 *   usable.
 * @NETRAID_EVENT_KIND_REFUSED: A connection was refused, by this machine or
 *   the other one.
 * @NETRAID_EVENT_KIND_STANDING_CHANGED: One of the lasting flags of the mirror
 *   changed, last-owner, data-corrupt, split-brain or inconsistent.
 */
enum netraid_event_kind {
	NETRAID_EVENT_KIND_MIRROR_ADDED,
	NETRAID_EVENT_KIND_MIRROR_DELETED,
	NETRAID_EVENT_KIND_ROLE_CHANGED,
	NETRAID_EVENT_KIND_LEG_ADDED,
	NETRAID_EVENT_KIND_LEG_DELETED,
	NETRAID_EVENT_KIND_LEG_CHANGED,
	NETRAID_EVENT_KIND_RESYNC_PROGRESS,
	NETRAID_EVENT_KIND_RESYNC_DONE,
	NETRAID_EVENT_KIND_REFUSED,
	NETRAID_EVENT_KIND_STANDING_CHANGED,
};

/**
 * enum netraid_start_mode - How a mirror comes into service, see mirror-start.
 * @NETRAID_START_MODE_AUTO: In the role it had; a source asks its targets
 *   first and becomes one where another machine took over.
 * @NETRAID_START_MODE_SOURCE: As source; its targets are asked first, and one
 *   that holds newer data forbids it.
 * @NETRAID_START_MODE_FORCE: As source, though nobody answers; whoever asks
 *   for it answers for its data.
 * @NETRAID_START_MODE_YIELD: As target that gives up what it wrote itself; the
 *   other machine's data is kept.
 * @NETRAID_START_MODE_KEEP: As source that keeps its data; the other machine
 *   has to yield.
 */
enum netraid_start_mode {
	NETRAID_START_MODE_AUTO,
	NETRAID_START_MODE_SOURCE,
	NETRAID_START_MODE_FORCE,
	NETRAID_START_MODE_YIELD,
	NETRAID_START_MODE_KEEP,
};

enum {
	NETRAID_A_MIRROR_NAME = 1,
	NETRAID_A_MIRROR_ID,
	NETRAID_A_MIRROR_UUID,
	NETRAID_A_MIRROR_ROLE,
	NETRAID_A_MIRROR_DISK,
	NETRAID_A_MIRROR_SIZE,
	NETRAID_A_MIRROR_CHUNK_SIZE,
	NETRAID_A_MIRROR_NODE_NAME,
	NETRAID_A_MIRROR_NODE_UUID,
	NETRAID_A_MIRROR_ADDRESS,
	NETRAID_A_MIRROR_PORT,
	NETRAID_A_MIRROR_SCOPE_ID,
	NETRAID_A_MIRROR_HEARTBEAT_MS,
	NETRAID_A_MIRROR_TIMEOUT_MS,
	NETRAID_A_MIRROR_FORCE,
	NETRAID_A_MIRROR_INCONSISTENT,
	NETRAID_A_MIRROR_OPEN_COUNT,
	NETRAID_A_MIRROR_DEVICE_PRESENT,
	NETRAID_A_MIRROR_EVENT_SEQ,
	NETRAID_A_MIRROR_LEG,
	NETRAID_A_MIRROR_DIRTY_CHUNKS,
	NETRAID_A_MIRROR_META_PATH,
	NETRAID_A_MIRROR_META_INTERNAL,
	NETRAID_A_MIRROR_NO_BITMAP,
	NETRAID_A_MIRROR_ATTACH,
	NETRAID_A_MIRROR_FRESH,
	NETRAID_A_MIRROR_NO_FULL_SYNC,
	NETRAID_A_MIRROR_LAST_OWNER,
	NETRAID_A_MIRROR_DATA_CORRUPT,
	NETRAID_A_MIRROR_SPLIT_BRAIN,
	NETRAID_A_MIRROR_YIELDED,
	NETRAID_A_MIRROR_GENERATION,
	NETRAID_A_MIRROR_MODE,
	NETRAID_A_MIRROR_OVERRIDE,
	NETRAID_A_MIRROR_KEEP_ROLE,
	NETRAID_A_MIRROR_RESYNC_RATE,
	NETRAID_A_MIRROR_ASYNC_LIMIT,
	NETRAID_A_MIRROR_META_WRITES,
	NETRAID_A_MIRROR_CHUNKS,
	NETRAID_A_MIRROR_STOPPED,
	NETRAID_A_MIRROR_INTENT_CHUNKS,
	NETRAID_A_MIRROR_READ_ERRORS,
	NETRAID_A_MIRROR_REMOTE_READS,
	NETRAID_A_MIRROR_REPAIRED_BYTES,
	NETRAID_A_MIRROR_REPAIR_ERRORS,
	NETRAID_A_MIRROR_ASYNC_PERMITTED,
	NETRAID_A_MIRROR_SOURCE_NAME,
	NETRAID_A_MIRROR_SAME_MACHINE,
	NETRAID_A_MIRROR_ON_IO_ERROR,
	NETRAID_A_MIRROR_DISK_STATE,
	NETRAID_A_MIRROR_REBUILT_BYTES,
	NETRAID_A_MIRROR_PRIORITY,

	__NETRAID_A_MIRROR_MAX,
	NETRAID_A_MIRROR_MAX = (__NETRAID_A_MIRROR_MAX - 1)
};

enum {
	NETRAID_A_LEG_ID = 1,
	NETRAID_A_LEG_ADDRESS,
	NETRAID_A_LEG_PORT,
	NETRAID_A_LEG_SCOPE_ID,
	NETRAID_A_LEG_PEER_NAME,
	NETRAID_A_LEG_PEER_UUID,
	NETRAID_A_LEG_STATE,
	NETRAID_A_LEG_CONNECTION,
	NETRAID_A_LEG_REPLICATION,
	NETRAID_A_LEG_HEARTBEAT_MS,
	NETRAID_A_LEG_TIMEOUT_MS,
	NETRAID_A_LEG_REASON,
	NETRAID_A_LEG_CHUNKS,
	NETRAID_A_LEG_DIRTY_CHUNKS,
	NETRAID_A_LEG_RESYNC_TOTAL,
	NETRAID_A_LEG_RESYNC_DONE,
	NETRAID_A_LEG_RESYNC_ELAPSED_MS,
	NETRAID_A_LEG_RESYNC_FULL,
	NETRAID_A_LEG_RESYNCS,
	NETRAID_A_LEG_RESYNCED_BYTES,
	NETRAID_A_LEG_REPLICATED_BYTES,
	NETRAID_A_LEG_SENT_BYTES,
	NETRAID_A_LEG_RECEIVED_BYTES,
	NETRAID_A_LEG_CONNECTS,
	NETRAID_A_LEG_ATTEMPTS,
	NETRAID_A_LEG_HEARD_MS,
	NETRAID_A_LEG_RETRY_MS,
	NETRAID_A_LEG_IN_FLIGHT,
	NETRAID_A_LEG_SKIPPED_BYTES,
	NETRAID_A_LEG_ZEROED_BYTES,
	NETRAID_A_LEG_CHECKSUMS,
	NETRAID_A_LEG_NO_CHECKSUMS,
	NETRAID_A_LEG_UNCONFIRMED_BYTES,
	NETRAID_A_LEG_OLDEST_MS,
	NETRAID_A_LEG_SYNC_FALLBACKS,
	NETRAID_A_LEG_UNCONFIRMED,
	NETRAID_A_LEG_CONGESTION,
	NETRAID_A_LEG_FALLS,
	NETRAID_A_LEG_PRIORITY,

	__NETRAID_A_LEG_MAX,
	NETRAID_A_LEG_MAX = (__NETRAID_A_LEG_MAX - 1)
};

enum {
	NETRAID_A_EVENT_SEQ = 1,
	NETRAID_A_EVENT_KIND,
	NETRAID_A_EVENT_TIME_MS,
	NETRAID_A_EVENT_MIRROR,
	NETRAID_A_EVENT_LEG_ID,
	NETRAID_A_EVENT_REASON,

	__NETRAID_A_EVENT_MAX,
	NETRAID_A_EVENT_MAX = (__NETRAID_A_EVENT_MAX - 1)
};

enum {
	NETRAID_CMD_MIRROR_GET = 1,
	NETRAID_CMD_MIRROR_NEW,
	NETRAID_CMD_MIRROR_DEL,
	NETRAID_CMD_MIRROR_STOP,
	NETRAID_CMD_MIRROR_PROMOTE,
	NETRAID_CMD_MIRROR_DEMOTE,
	NETRAID_CMD_LEG_NEW,
	NETRAID_CMD_LEG_DEL,
	NETRAID_CMD_LEG_PAUSE,
	NETRAID_CMD_LEG_RESUME,
	NETRAID_CMD_EVENT,
	NETRAID_CMD_LEG_FULL,
	NETRAID_CMD_MIRROR_START,
	NETRAID_CMD_MIRROR_SWITCHOVER,
	NETRAID_CMD_MIRROR_SET,
	NETRAID_CMD_MIRROR_ATTACH,

	__NETRAID_CMD_MAX,
	NETRAID_CMD_MAX = (__NETRAID_CMD_MAX - 1)
};

#define NETRAID_MCGRP_EVENTS	"events"

#endif /* _UAPI_LINUX_NETRAID_H */
