// SPDX-License-Identifier: GPL-2.0
#include <linux/bvec.h>
#include <linux/dcache.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/namei.h>
#include <linux/uio.h>

#include "shim.h"

/* get_zeroed_page() is a macro; NULL when there is none. */
void *netraid_block_alloc(void)
{
	BUILD_BUG_ON(PAGE_SIZE < NETRAID_BLOCK_SIZE);
	return (void *)get_zeroed_page(GFP_KERNEL);
}

/* free_page() is a macro. */
void netraid_block_free(void *block)
{
	free_page((unsigned long)block);
}

/* What kern_path() finds lies in a struct path, whose members move; its S_IFMT, or a negative errno. */
int netraid_path_type(const char *name)
{
	struct path path;
	int type = kern_path(name, LOOKUP_FOLLOW, &path);

	if (type)
		return type;
	type = d_backing_inode(path.dentry)->i_mode & S_IFMT;
	path_put(&path);
	return type;
}

/* d_real_inode() is a static inline; below an overlay it is the file that holds the data. */
struct inode *netraid_file_inode(struct file *file)
{
	return d_real_inode(file->f_path.dentry);
}

/* static inline in linux/fs.h */
u64 netraid_inode_bytes(struct inode *inode)
{
	return i_size_read(inode);
}

/* The device of the inode's file system; NULL where it has none, or more than one. */
struct block_device *netraid_inode_bdev(struct inode *inode)
{
	return inode->i_sb->s_bdev;
}

/* init_sync_kiocb() and bvec_set_virt() are static inlines. How many bytes, or a negative errno. */
ssize_t netraid_file_read(struct file *file, u64 offset, void *data, unsigned int len)
{
	struct bio_vec vec;
	struct iov_iter iter;
	struct kiocb iocb;

	bvec_set_virt(&vec, data, len);
	iov_iter_bvec(&iter, ITER_DEST, &vec, 1, len);
	init_sync_kiocb(&iocb, file);
	iocb.ki_pos = offset;
	return vfs_iocb_iter_read(file, &iocb, &iter);
}

/* As above. */
ssize_t netraid_file_write(struct file *file, u64 offset, const void *data, unsigned int len, bool durable)
{
	struct bio_vec vec;
	struct iov_iter iter;
	struct kiocb iocb;

	bvec_set_virt(&vec, (void *)data, len);
	iov_iter_bvec(&iter, ITER_SOURCE, &vec, 1, len);
	init_sync_kiocb(&iocb, file);
	iocb.ki_pos = offset;
	if (durable)
		iocb.ki_flags |= IOCB_DSYNC;
	return vfs_iocb_iter_write(file, &iocb, &iter);
}

/* bdev_rw_virt() takes no flags. The bio is on the stack, so nothing is allocated. */
int netraid_bdev_rw(struct block_device *bdev, u64 offset, void *data, unsigned int len, unsigned int opf)
{
	struct bio_vec vec;
	struct bio bio;
	int err;

	bio_init(&bio, bdev, &vec, 1, (__force blk_opf_t)opf);
	bio.bi_iter.bi_sector = offset >> SECTOR_SHIFT;
	bio_add_virt_nofail(&bio, data, len);
	err = submit_bio_wait(&bio);
	bio_uninit(&bio);
	return err;
}
