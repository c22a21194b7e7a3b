// SPDX-License-Identifier: GPL-2.0
#include <linux/jiffies.h>
#include <linux/percpu-refcount.h>
#include <linux/wait.h>

#include "shim.h"

/* init_waitqueue_head() is a macro. */
void netraid_event_init(struct netraid_event *event)
{
	init_waitqueue_head(&event->wait);
	atomic_set(&event->raised, 0);
}

/* wake_up() is a macro; any context. */
void netraid_event_raise(struct netraid_event *event)
{
	if (!atomic_xchg(&event->raised, 1))
		wake_up(&event->wait);
}

/* wait_event_idle_timeout() is a macro; idle, so that a long wait is not taken for a hang. */
bool netraid_event_wait(struct netraid_event *event, unsigned int ms)
{
	return wait_event_idle_timeout(event->wait, atomic_xchg(&event->raised, 0),
				       msecs_to_jiffies(ms)) > 0;
}

static void netraid_rundown_release(struct percpu_ref *users)
{
	complete(&container_of(users, struct netraid_rundown, users)->done);
}

int netraid_rundown_init(struct netraid_rundown *rundown)
{
	init_completion(&rundown->done);
	return percpu_ref_init(&rundown->users, netraid_rundown_release, 0, GFP_KERNEL);
}

/* static inlines in linux/percpu-refcount.h; any context. */
bool netraid_rundown_enter(struct netraid_rundown *rundown)
{
	return percpu_ref_tryget_live(&rundown->users);
}

void netraid_rundown_leave(struct netraid_rundown *rundown)
{
	percpu_ref_put(&rundown->users);
}

void netraid_rundown_kill(struct netraid_rundown *rundown)
{
	percpu_ref_kill(&rundown->users);
}

/* True when no user is left. */
bool netraid_rundown_wait(struct netraid_rundown *rundown, unsigned int ms)
{
	return wait_for_completion_timeout(&rundown->done, msecs_to_jiffies(ms)) > 0;
}
