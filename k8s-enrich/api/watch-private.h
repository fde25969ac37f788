// SPDX-License-Identifier: GPL-2.0-or-later
/* The inside of an ApiWatch: watch.c (thread and queue), reflector.c (list and watch of one
 * resource; its inside is reflector-private.h), store.c (what is known), job-owners.c (who owns a
 * Job). All but watch.c's queue and counters belongs to the watch's thread. */
#pragma once

#include "k8s-enrich/api/decode.h"
#include "k8s-enrich/api/transport.h"
#include "k8s-enrich/api/watch.h"

#define SECOND_NS UINT64_C(1000000000)
#define NEVER_NS  UINT64_MAX

/* ---- watch.c ---------------------------------------------------------------------------------*/

void watch_tell_entity(ApiWatch *watch, const Entity *entity, uint64_t deleted_ns);
/* message NULL: well again. */
void watch_tell_problem(ApiWatch *watch, const char *subject, const char *message);
/* A reflector has its first list, or was refused it. */
void watch_settled(ApiWatch *watch);
/* Between these the counters may be changed. */
ApiWatchStats *watch_stats_lock(ApiWatch *watch);
void watch_stats_unlock(ApiWatch *watch);

/* ---- store.c ---------------------------------------------------------------------------------*/

typedef struct Store Store;
typedef struct JobOwners JobOwners;

Store *store_new(ApiWatch *watch, JobOwners *jobs);
Store *store_free(Store *store);
/* A list of `resource` begins: what it does not name is gone when it ends. */
void store_list_begin(Store *store, unsigned resource);
void store_list_end(Store *store, unsigned resource, uint64_t now_ns);
/* An object of a list or an event. */
void store_put(Store *store, unsigned resource, const ApiObject *object, uint64_t now_ns);
void store_delete(Store *store, unsigned resource, const ApiObject *object, uint64_t now_ns);
/* The owner of a Job is known now: its pods are told anew. */
void store_correct_owner(Store *store, uint64_t pod_key, const char *kind, const char *name);

/* ---- job-owners.c ----------------------------------------------------------------------------*/

JobOwners *job_owners_new(ApiWatch *watch, ApiTransport *transport, unsigned stall_s,
                          unsigned refused_retry_s);
JobOwners *job_owners_free(JobOwners *jobs);
void job_owners_set_store(JobOwners *jobs, Store *store);
/* A pod belongs to the Job; true with *ret_kind and *ret_name (borrowed) if its owner is known,
 * else it is asked for. */
bool job_owners_add(JobOwners *jobs, const char *namespace_name, const char *name, uint64_t pod_key,
                    const char **ret_kind, const char **ret_name);
void job_owners_remove(JobOwners *jobs, const char *namespace_name, const char *name,
                       uint64_t pod_key);
/* Does what is due at `now_ns` (monotonic); returns when to be called again. */
uint64_t job_owners_tick(JobOwners *jobs, uint64_t now_ns);

/* ---- reflector.c -----------------------------------------------------------------------------*/

typedef struct Reflector Reflector;
Reflector *reflector_new(ApiWatch *watch, ApiTransport *transport, Store *store, unsigned resource,
                         const ApiScope *scope);
Reflector *reflector_free(Reflector *reflector);
uint64_t reflector_tick(Reflector *reflector, uint64_t now_ns);
/* See api_watch_hurry(). */
void reflector_hurry(Reflector *reflector, uint64_t now_ns);
