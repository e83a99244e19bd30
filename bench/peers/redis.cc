// SPDX-License-Identifier: Apache-2.0
// Redis Streams on a Unix socket. variant: appendfsync, always or everysec.
#include <hiredis/hiredis.h>

#include "bench/peers/durable.hh"

using namespace peers;

struct Client {
    explicit Client(const Work &work) : context(redisConnectUnix((work.directory + "/redis").c_str()))
    {
        if (!context || context->err)
            fail(std::string("redis: ") + (context ? context->errstr : "no memory"));
        run({"DEL", "bench"});
    }
    ~Client()
    {
        freeReplyObject(redisCommand(context, "DEL bench"));
        redisFree(context);
    }
    void post(const void *data, size_t bytes)
    {
        const char *words[] = {"XADD", "bench", "*", "m", static_cast<const char *>(data)};
        const size_t lengths[] = {4, 5, 1, 1, bytes};
        if (redisAppendCommandArgv(context, 5, words, lengths) != REDIS_OK)
            fail(context->errstr);
    }
    void flush()
    {
        for (int done = 0; !done;)
            if (redisBufferWrite(context, &done) != REDIS_OK)
                fail(context->errstr);
    }
    uint64_t confirmed(bool wait)
    {
        redisReply *reply = nullptr;
        if (wait)
            count(static_cast<redisReply *>(next()));
        while (redisGetReplyFromReader(context, reinterpret_cast<void **>(&reply)) == REDIS_OK && reply)
            count(reply);
        return replies;
    }
    void replay(uint64_t wanted, const Take &take)
    {
        std::string from = "-";
        for (uint64_t got = 0; got < wanted;) {
            redisReply *page = run({"XRANGE", "bench", from, "+", "COUNT", "1000"});
            if (page->elements == 0)
                fail("redis: messages are missing");
            for (size_t i = 0; i < page->elements && got < wanted; i++, got++) {
                const redisReply *entry = page->element[i], *body = entry->element[1]->element[1];
                take(body->str, body->len);
                from = std::string("(") + entry->element[0]->str;
            }
            freeReplyObject(page);
        }
    }

private:
    void *next()
    {
        void *reply = nullptr;
        if (redisGetReply(context, &reply) != REDIS_OK)
            fail(std::string("redis: ") + context->errstr);
        return reply;
    }
    void count(redisReply *reply)
    {
        bool ok = reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS;
        std::string what = ok || !reply->str ? "" : reply->str;
        freeReplyObject(reply);
        if (!ok)
            fail("redis: " + what);
        replies++;
    }
    redisReply *run(const std::vector<std::string> &words)
    {
        std::vector<const char *> argv;
        std::vector<size_t> lengths;
        for (const auto &word : words) {
            argv.push_back(word.data());
            lengths.push_back(word.size());
        }
        auto *reply = static_cast<redisReply *>(
            redisCommandArgv(context, static_cast<int>(argv.size()), argv.data(), lengths.data()));
        if (!reply || reply->type == REDIS_REPLY_ERROR)
            fail(std::string("redis: ") + (reply ? reply->str : context->errstr));
        return reply;
    }
    redisContext *context;
    uint64_t replies = 0;
};

static void serve(const Work &work, Result &)
{
    std::string socket = work.directory + "/redis";
    execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", socket.c_str(), "--dir",
           work.directory.c_str(), "--appendonly", "yes", "--appendfsync", work.variant.c_str(), "--save", "",
           "--auto-aof-rewrite-percentage", "0", static_cast<char *>(nullptr));
    fail_errno("redis-server");
}

int main(int argc, char **argv)
{
    return run_command(argc, argv, {{"confirm", confirm<Client>}, {"ready", ready<Client>}, {"serve", serve}});
}
