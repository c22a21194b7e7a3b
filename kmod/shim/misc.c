// SPDX-License-Identifier: GPL-2.0
#include <linux/irqflags.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/sched/task.h>
#include <linux/timekeeping.h>
#include <linux/utsname.h>

#include "shim.h"

/* static inline in linux/timekeeping.h; the boot clock runs on through suspend. */
u64 netraid_now_ms(void)
{
	return ktime_to_ms(ktime_get_boottime());
}

u64 netraid_wall_ms(void)
{
	return ktime_to_ms(ktime_get_real());
}

/* a volatile variable */
unsigned long netraid_jiffies(void)
{
	return jiffies;
}

/* static inline in linux/sched/mm.h */
unsigned int netraid_noio_save(void)
{
	return memalloc_noio_save();
}

void netraid_noio_restore(unsigned int flags)
{
	memalloc_noio_restore(flags);
}

/* macros in linux/irqflags.h */
unsigned long netraid_irq_save(void)
{
	unsigned long flags;

	local_irq_save(flags);
	return flags;
}

void netraid_irq_restore(unsigned long flags)
{
	local_irq_restore(flags);
}

/* variadic in linux/kthread.h; the reference outlives a thread that returns by itself. */
struct task_struct *netraid_kthread_create(int (*run)(void *data), void *data, const char *name)
{
	struct task_struct *task = kthread_create(run, data, "%s", name);

	if (!IS_ERR(task)) {
		get_task_struct(task);
		wake_up_process(task);
	}
	return task;
}

void netraid_kthread_put(struct task_struct *task)
{
	put_task_struct(task);
}

/* THIS_MODULE is a macro. */
void netraid_module_get(void)
{
	__module_get(THIS_MODULE);
}

void netraid_module_put(void)
{
	module_put(THIS_MODULE);
}

/* init_utsname() is a static inline; the name of the machine, not of a container. */
const char *netraid_node_name(void)
{
	return init_utsname()->nodename;
}

/* current is a macro; the value only tells tasks apart. */
unsigned long netraid_current(void)
{
	return (unsigned long)current;
}
