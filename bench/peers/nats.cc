// SPDX-License-Identifier: Apache-2.0
// NATS JetStream with a file store: each message is published with a reply subject, where its acknowledgement arrives.
#include <nats/nats.h>
#include <sys/stat.h>

#include "bench/peers/durable.hh"

using namespace peers;

static void check_nats(natsStatus status, const char *what)
{
    if (status != NATS_OK)
        fail(std::string("nats: ") + what + ": " + natsStatus_GetText(status));
}

struct Client {
    explicit Client(const Work &work)
    {
        std::string url = "nats://127.0.0.1:" + std::to_string(read_port(work));
        natsOptions *options;
        check_nats(natsOptions_Create(&options), "options");
        natsOptions_SetURL(options, url.c_str());
        natsOptions_SetSendAsap(options, work.window == 1); // else its thread sends what has gathered
        natsStatus status = natsConnection_Connect(&connection, options);
        natsOptions_Destroy(options);
        check_nats(status, "connect");
        check_nats(natsConnection_JetStream(&stream, connection, nullptr), "JetStream");
        jsStreamConfig config;
        jsStreamConfig_Init(&config);
        const char *subjects[] = {"bench"};
        config.Name = "bench";
        config.Subjects = subjects;
        config.SubjectsLen = 1;
        config.Storage = js_FileStorage;
        js_DeleteStream(stream, "bench", nullptr, nullptr);
        check_nats(js_AddStream(nullptr, stream, &config, nullptr, nullptr), "stream");
        check_nats(natsInbox_Create(&inbox), "inbox");
        check_nats(natsConnection_SubscribeSync(&acks, connection, inbox), "subscribe");
        natsSubscription_SetPendingLimits(acks, -1, -1);
    }
    ~Client()
    {
        natsSubscription_Destroy(acks);
        natsInbox_Destroy(inbox);
        js_DeleteStream(stream, "bench", nullptr, nullptr);
        jsCtx_Destroy(stream);
        natsConnection_Destroy(connection);
        nats_Close();
    }
    void post(const void *data, size_t bytes)
    {
        check_nats(natsConnection_PublishRequest(connection, "bench", inbox, data, static_cast<int>(bytes)), "publish");
    }
    void flush()
    {
    }
    uint64_t confirmed(bool wait)
    {
        natsMsg *message;
        for (;; wait = false) {
            uint64_t queued = 0;
            if (!wait && (natsSubscription_QueuedMsgs(acks, &queued) != NATS_OK || queued == 0))
                return replies;
            check_nats(natsSubscription_NextMsg(&message, acks, 20000), "acknowledgement");
            std::string text(natsMsg_GetData(message), static_cast<size_t>(natsMsg_GetDataLength(message)));
            natsMsg_Destroy(message);
            if (text.find("\"seq\":" + std::to_string(++replies)) == std::string::npos)
                fail("nats: " + text);
        }
    }
    void replay(uint64_t wanted, const Take &take)
    {
        natsSubscription *reader;
        jsSubOptions options;
        jsSubOptions_Init(&options);
        options.Config.AckPolicy = js_AckNone;
        check_nats(js_SubscribeSync(&reader, stream, "bench", nullptr, &options, nullptr), "reader");
        natsSubscription_SetPendingLimits(reader, -1, -1);
        for (uint64_t got = 0; got < wanted; got++) {
            natsMsg *message;
            check_nats(natsSubscription_NextMsg(&message, reader, 20000), "messages are missing");
            take(natsMsg_GetData(message), static_cast<size_t>(natsMsg_GetDataLength(message)));
            natsMsg_Destroy(message);
        }
        natsSubscription_Destroy(reader);
    }

private:
    natsConnection *connection = nullptr;
    jsCtx *stream = nullptr;
    natsInbox *inbox = nullptr;
    natsSubscription *acks = nullptr;
    uint64_t replies = 0;
};

static void serve(const Work &work, Result &)
{
    std::string store = work.directory + "/nats", port = std::to_string(choose_port(work));
    execlp("nats-server", "nats-server", "-js", "-sd", store.c_str(), "-a", "127.0.0.1", "-p", port.c_str(),
           static_cast<char *>(nullptr));
    fail_errno("nats-server");
}

int main(int argc, char **argv)
{
    return run_command(argc, argv, {{"confirm", confirm<Client>}, {"ready", ready<Client>}, {"serve", serve}});
}
