// SPDX-License-Identifier: GPL-2.0
#include <crypto/sha2.h>
#include <linux/bio.h>
#include <linux/blk-crypto.h>
#include <linux/bio-integrity.h>
#include <linux/blkdev.h>
#include <linux/highmem.h>
#include <linux/module.h>
#include <linux/string.h>
#include <linux/xxhash.h>

#include "shim.h"

/* blk_alloc_disk() is a macro with a lock class of its own. */
struct gendisk *netraid_alloc_disk(struct queue_limits *limits)
{
	return blk_alloc_disk(limits, NUMA_NO_NODE);
}

/* add_disk() is a static inline. */
int netraid_add_disk(struct gendisk *disk)
{
	return add_disk(disk);
}

/* The members of struct bvec_iter have other names in other kernels. */
void netraid_bio_rewind(struct bio *bio, sector_t sector, unsigned int bytes)
{
	bio->bi_iter = (struct bvec_iter){ .bi_sector = sector, .bi_size = bytes };
}

/* The status of an ended bio as a positive errno, 0 for none. */
unsigned int netraid_bio_errno(struct bio *bio)
{
	return -blk_status_to_errno(bio->bi_status);
}

/* bio_end_io_acct() is a static inline. */
void netraid_bio_end_acct(struct bio *bio, unsigned long start)
{
	bio_end_io_acct(bio, start);
}

unsigned char netraid_status_of(int err)
{
	return (__force unsigned char)errno_to_blk_status(err);
}

/* static inlines in linux/blkdev.h */
u64 netraid_bdev_bytes(struct block_device *bdev)
{
	return bdev_nr_bytes(bdev);
}

unsigned int netraid_bdev_logical_block(struct block_device *bdev)
{
	return bdev_logical_block_size(bdev);
}

bool netraid_bdev_zoned(struct block_device *bdev)
{
	return bdev_is_zoned(bdev);
}

bool netraid_bdev_read_only(struct block_device *bdev)
{
	return bdev_read_only(bdev);
}

bool netraid_bdev_can_discard(struct block_device *bdev)
{
	return bdev_max_discard_sectors(bdev) != 0;
}

bool netraid_bdev_cached(struct block_device *bdev)
{
	return bdev_write_cache(bdev);
}

u32 netraid_bdev_devt(struct block_device *bdev)
{
	return bdev->bd_dev;
}

/* Whether it is a disk of this module, or a partition of one; THIS_MODULE is a macro. */
bool netraid_bdev_own(struct block_device *bdev)
{
	return bdev->bd_disk->fops->owner == THIS_MODULE;
}

/*
 * Whether a bio carries nothing that is bound to its own disk, and is not one in which the results of several come together;
 * all of them static inlines.
 */
bool netraid_bio_is_plain(struct bio *bio)
{
	return !bio_flagged(bio, BIO_CHAIN) && !bio_integrity(bio) && !bio_has_crypt_ctx(bio);
}

/* bio_set_dev() is a static inline. */
void netraid_bio_set_disk(struct bio *bio, struct block_device *bdev)
{
	bio_set_dev(bio, bdev);
}

/* mempool_create_kmalloc_pool() and mempool_alloc() are macros; with GFP_NOIO it waits but does not fail. */
mempool_t *netraid_memory_pool(int pieces, size_t size)
{
	return mempool_create_kmalloc_pool(pieces, size);
}

void *netraid_memory_get(mempool_t *pool)
{
	return mempool_alloc(pool, GFP_NOIO);
}

/* mempool_create_page_pool() is a static inline. */
mempool_t *netraid_page_pool(int pages)
{
	return mempool_create_page_pool(pages, 0);
}

/* mempool_alloc() is a macro; with GFP_NOIO it waits for a page but does not fail. */
struct page *netraid_page_get(mempool_t *pool)
{
	return mempool_alloc(pool, GFP_NOIO);
}

/*
 * alloc_page() is a macro. A few clean pages may be dropped for this one, but nothing is waited for; that it would be
 * taken from what is kept for those who free memory is worse than none.
 */
struct page *netraid_page_try(void)
{
	return alloc_page(GFP_NOIO | __GFP_NORETRY | __GFP_NOMEMALLOC | __GFP_NOWARN);
}

/* bio_for_each_segment_all() is a macro. */
void netraid_bio_free_pages(struct bio *bio, mempool_t *pool)
{
	struct bio_vec *bvec;
	struct bvec_iter_all iter;

	bio_for_each_segment_all(bvec, bio, iter)
		mempool_free(bvec->bv_page, pool);
}

/* As above; the data of all segments, of lowmem pages, as those of the pool are. */
bool netraid_bio_is_zero(struct bio *bio)
{
	struct bio_vec *bvec;
	struct bvec_iter_all iter;

	bio_for_each_segment_all(bvec, bio, iter) {
		if (memchr_inv(bvec_virt(bvec), 0, bvec->bv_len))
			return false;
	}
	return true;
}

/* As above; sha256_update() is a static inline. */
void netraid_bio_sha256(struct bio *bio, u8 *digest)
{
	struct sha256_ctx ctx;
	struct bio_vec *bvec;
	struct bvec_iter_all iter;

	sha256_init(&ctx);
	bio_for_each_segment_all(bvec, bio, iter)
		sha256_update(&ctx, bvec_virt(bvec), bvec->bv_len);
	sha256_final(&ctx, digest);
}

/* bio_for_each_segment() is a macro; the data from the bio's iterator on, which is not moved. */
u64 netraid_bio_xxh64(struct bio *bio)
{
	struct bvec_iter iter;
	struct bio_vec bvec;
	struct xxh64_state state;

	xxh64_reset(&state, 0);

	bio_for_each_segment(bvec, bio, iter) {
		void *data = bvec_kmap_local(&bvec);

		xxh64_update(&state, data, bvec.bv_len);
		kunmap_local(data);
	}
	return xxh64_digest(&state);
}

/* bio_copy_data() is not among the kernel's own bindings. */
void netraid_bio_copy(struct bio *to, struct bio *from)
{
	bio_copy_data(to, from);
}
