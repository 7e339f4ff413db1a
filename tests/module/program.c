/* A program in C that loads a PKCS#11 module, as nginx or curl would, and does what such programs do: program MODULE WHAT.
 * It ends with 1 and a line on standard error at the first thing that is not as the standard has it. */

#define _GNU_SOURCE
#define CRYPTOKI_GNU 1
#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *path;
static void *library;
static struct ck_function_list *f;

static void fail(int line, const char *what, unsigned long rv)
{
    fprintf(stderr, "program.c:%d: %s: 0x%lx\n", line, what, rv);
    exit(1);
}

#define IS(wanted, call)                                                                                               \
    do {                                                                                                               \
        unsigned long rv_ = (call);                                                                                    \
        if (rv_ != (wanted)) fail(__LINE__, #call, rv_);                                                               \
    } while (0)
#define OK(call) IS(CKR_OK, call)
#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) fail(__LINE__, #condition, 0);                                                               \
    } while (0)

static void load(void)
{
    ck_rv_t (*list)(struct ck_function_list **);
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    *(void **)&list = dlsym(library, "C_GetFunctionList");
    CHECK(list);
    OK(list(&f));
}

static ck_session_handle_t open_session(void)
{
    ck_slot_id_t slots[16];
    unsigned long count = 16;
    ck_session_handle_t session;
    OK(f->C_GetSlotList(1, slots, &count));
    CHECK(count >= 1);
    OK(f->C_OpenSession(slots[0], CKF_SERIAL_SESSION, NULL, NULL, &session));
    return session;
}

/* The key called p256. */
static ck_object_handle_t find_key(ck_session_handle_t session)
{
    ck_object_class_t class = CKO_PRIVATE_KEY;
    struct ck_attribute template[] = {{CKA_CLASS, &class, sizeof class}, {CKA_LABEL, "p256", 4}};
    ck_object_handle_t found[2];
    unsigned long count;
    OK(f->C_FindObjectsInit(session, template, 2));
    OK(f->C_FindObjects(session, found, 2, &count));
    CHECK(count == 1);
    OK(f->C_FindObjects(session, found + 1, 1, &count));
    CHECK(count == 0);
    OK(f->C_FindObjectsFinal(session));
    return found[0];
}

static struct ck_mechanism mechanism = {CKM_ECDSA_SHA256, NULL, 0};
static unsigned char message[70000] = "a message";

static ck_rv_t sign(ck_session_handle_t session, ck_object_handle_t key)
{
    unsigned char signature[64];
    unsigned long len = sizeof signature;
    ck_rv_t rv = f->C_SignInit(session, &mechanism, key);
    if (rv == CKR_OK) rv = f->C_Sign(session, message, 9, signature, &len);
    if (rv == CKR_OK) CHECK(len == 64);
    return rv;
}

static void life(void)
{
    struct ck_info info;
    struct ck_c_initialize_args args = {0};
    ck_session_handle_t session;
    int i;
    IS(CKR_CRYPTOKI_NOT_INITIALIZED, f->C_GetInfo(&info));
    IS(CKR_CRYPTOKI_NOT_INITIALIZED, f->C_Finalize(NULL));
    args.create_mutex = (ck_createmutex_t)(void *)fail;
    IS(CKR_ARGUMENTS_BAD, f->C_Initialize(&args));
    args.destroy_mutex = args.lock_mutex = args.unlock_mutex = (ck_lockmutex_t)(void *)fail;
    IS(CKR_CANT_LOCK, f->C_Initialize(&args));
    args.flags = CKF_OS_LOCKING_OK;
    OK(f->C_Initialize(&args));
    IS(CKR_CRYPTOKI_ALREADY_INITIALIZED, f->C_Initialize(NULL));
    OK(f->C_GetInfo(&info));
    IS(CKR_ARGUMENTS_BAD, f->C_GetInfo(NULL));
    session = open_session();
    OK(sign(session, find_key(session)));
    IS(CKR_ARGUMENTS_BAD, f->C_Finalize(&i));
    OK(f->C_Finalize(NULL));
    IS(CKR_CRYPTOKI_NOT_INITIALIZED, f->C_CloseSession(session));
    OK(f->C_Initialize(NULL));
    IS(CKR_SESSION_HANDLE_INVALID, f->C_CloseSession(session));
    OK(f->C_Finalize(NULL));
    for (i = 0; i < 10; i++) {
        dlclose(library);
        load();
        OK(f->C_Initialize(NULL));
        session = open_session();
        OK(sign(session, find_key(session)));
        /* Every other time without C_Finalize. */
        if (i % 2) OK(f->C_Finalize(NULL));
        else { OK(f->C_CloseSession(session)); OK(f->C_Finalize(NULL)); }
    }
}

static void buffers(void)
{
    ck_session_handle_t session;
    ck_object_handle_t key;
    unsigned char signature[80];
    unsigned long len, count;
    ck_slot_id_t slot;
    struct ck_mechanism unknown = {CKM_SHA1_RSA_PKCS, NULL, 0};
    OK(f->C_Initialize(NULL));
    count = 0;
    IS(CKR_BUFFER_TOO_SMALL, f->C_GetSlotList(0, &slot, &count));
    CHECK(count >= 1);
    IS(CKR_ARGUMENTS_BAD, f->C_GetSlotList(0, NULL, NULL));
    IS(CKR_SLOT_ID_INVALID, f->C_OpenSession(4711, CKF_SERIAL_SESSION, NULL, NULL, &session));
    IS(CKR_SESSION_PARALLEL_NOT_SUPPORTED, f->C_OpenSession(0, 0, NULL, NULL, &session));
    session = open_session();
    key = find_key(session);

    IS(CKR_OPERATION_NOT_INITIALIZED, f->C_Sign(session, message, 9, signature, &len));
    IS(CKR_KEY_HANDLE_INVALID, f->C_SignInit(session, &mechanism, 4711));
    IS(CKR_MECHANISM_INVALID, f->C_SignInit(session, &unknown, key));
    OK(f->C_SignInit(session, &mechanism, key));
    IS(CKR_OPERATION_ACTIVE, f->C_SignInit(session, &mechanism, key));
    OK(f->C_Sign(session, message, 9, NULL, &len));
    CHECK(len == 64);
    len = 63;
    IS(CKR_BUFFER_TOO_SMALL, f->C_Sign(session, message, 9, signature, &len));
    CHECK(len == 64);
    len = sizeof signature;
    OK(f->C_Sign(session, message, 9, signature, &len));
    CHECK(len == 64);
    IS(CKR_OPERATION_NOT_INITIALIZED, f->C_Sign(session, message, 9, signature, &len));

    OK(f->C_SignInit(session, &mechanism, key));
    OK(f->C_SignUpdate(session, message, 4));
    OK(f->C_SignUpdate(session, NULL, 0));
    OK(f->C_SignUpdate(session, message + 4, 5));
    OK(f->C_SignFinal(session, NULL, &len));
    len = 1;
    IS(CKR_BUFFER_TOO_SMALL, f->C_SignFinal(session, signature, &len));
    OK(f->C_SignFinal(session, signature, &len));

    OK(f->C_SignInit(session, &mechanism, key));
    IS(CKR_DATA_LEN_RANGE, f->C_SignUpdate(session, message, sizeof message));
    IS(CKR_OPERATION_NOT_INITIALIZED, f->C_SignFinal(session, signature, &len));
    OK(f->C_SignInit(session, &mechanism, key));
    len = sizeof signature;
    IS(CKR_DATA_LEN_RANGE, f->C_Sign(session, message, sizeof message, signature, &len));
    OK(f->C_SignInit(session, &mechanism, key));
    IS(CKR_ARGUMENTS_BAD, f->C_Sign(session, NULL, 9, signature, &len));
    IS(CKR_OPERATION_NOT_INITIALIZED, f->C_Sign(session, message, 9, signature, &len));
    OK(f->C_SignInit(session, &mechanism, key));
    OK(f->C_SignInit(session, NULL, key));
    OK(sign(session, key));

    {
        unsigned char id[64], value[64], flag = 7;
        ck_key_type_t type = 99;
        struct ck_attribute wanted[] = {
            {CKA_ID, NULL, 0},       {CKA_KEY_TYPE, &type, sizeof type}, {CKA_VALUE, value, sizeof value},
            {CKA_MODULUS, NULL, 0},  {CKA_LABEL, id, 3},                 {CKA_SIGN, &flag, 1},
            {CKA_EC_POINT, NULL, 0},
        };
        ck_rv_t rv = f->C_GetAttributeValue(session, key, wanted, 7);
        CHECK(rv == CKR_ATTRIBUTE_SENSITIVE || rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_BUFFER_TOO_SMALL);
        CHECK(wanted[0].value_len >= 1 && wanted[0].value_len <= 64);
        CHECK(wanted[1].value_len == sizeof type && type == CKK_EC);
        CHECK(wanted[2].value_len == (unsigned long)-1);
        CHECK(wanted[3].value_len == (unsigned long)-1);
        CHECK(wanted[4].value_len == (unsigned long)-1);
        CHECK(wanted[5].value_len == 1 && flag == 1);
        CHECK(wanted[6].value_len == 67);
        IS(CKR_ATTRIBUTE_SENSITIVE, f->C_GetAttributeValue(session, key, wanted + 2, 1));
        IS(CKR_ATTRIBUTE_TYPE_INVALID, f->C_GetAttributeValue(session, key, wanted + 3, 1));
        wanted[4].value_len = 3;
        IS(CKR_BUFFER_TOO_SMALL, f->C_GetAttributeValue(session, key, wanted + 4, 1));
        IS(CKR_OBJECT_HANDLE_INVALID, f->C_GetAttributeValue(session, 4711, wanted, 1));
        IS(CKR_ARGUMENTS_BAD, f->C_GetAttributeValue(session, key, NULL, 1));
        IS(CKR_ARGUMENTS_BAD, f->C_GetAttributeValue(session, key, wanted, (unsigned long)-1));
        OK(f->C_GetAttributeValue(session, key, NULL, 0));
    }
    {
        struct ck_attribute bad = {CKA_LABEL, NULL, 5};
        ck_object_handle_t found;
        IS(CKR_ATTRIBUTE_VALUE_INVALID, f->C_FindObjectsInit(session, &bad, 1));
        bad.value = message, bad.value_len = (unsigned long)-1 >> 1;
        IS(CKR_ATTRIBUTE_VALUE_INVALID, f->C_FindObjectsInit(session, &bad, 1));
        bad.type = CKA_CLASS, bad.value = "x", bad.value_len = 1;
        IS(CKR_ATTRIBUTE_VALUE_INVALID, f->C_FindObjectsInit(session, &bad, 1));
        IS(CKR_OPERATION_NOT_INITIALIZED, f->C_FindObjects(session, &found, 1, &count));
        OK(f->C_FindObjectsInit(session, NULL, 0));
        IS(CKR_OPERATION_ACTIVE, f->C_FindObjectsInit(session, NULL, 0));
        IS(CKR_ARGUMENTS_BAD, f->C_FindObjects(session, NULL, 1, &count));
        OK(f->C_FindObjectsFinal(session));
        IS(CKR_OPERATION_NOT_INITIALIZED, f->C_FindObjectsFinal(session));
    }
    IS(CKR_FUNCTION_NOT_SUPPORTED, f->C_DigestInit(session, &unknown));
    IS(CKR_FUNCTION_NOT_SUPPORTED, f->C_VerifyInit(session, &mechanism, key));
    IS(CKR_FUNCTION_NOT_PARALLEL, f->C_CancelFunction(session));
    OK(f->C_GenerateRandom(session, message, 1000));
    IS(CKR_RANDOM_SEED_NOT_SUPPORTED, f->C_SeedRandom(session, message, 10));
    IS(CKR_SESSION_READ_ONLY, f->C_DestroyObject(session, key));
    IS(CKR_NO_EVENT, f->C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, NULL));
    OK(f->C_Finalize(NULL));
}

static void forks(void)
{
    ck_session_handle_t session;
    ck_object_handle_t key;
    int i, status;
    OK(f->C_Initialize(NULL));
    session = open_session();
    key = find_key(session);
    for (i = 0; i < 20; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (!child) {
            ck_session_handle_t own;
            alarm(60);
            IS(CKR_CRYPTOKI_NOT_INITIALIZED, sign(session, key));
            IS(CKR_CRYPTOKI_NOT_INITIALIZED, f->C_Finalize(NULL));
            OK(f->C_Initialize(NULL));
            own = open_session();
            OK(sign(own, find_key(own)));
            OK(f->C_Finalize(NULL));
            _exit(0);
        }
        OK(sign(session, key));
        CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    OK(sign(session, key));
    OK(f->C_Finalize(NULL));
}

static volatile sig_atomic_t stop;

static void *signs(void *unused)
{
    ck_session_handle_t session = open_session();
    int i;
    for (i = 0; i < 50 && !stop; i++) OK(sign(session, find_key(session)));
    OK(f->C_CloseSession(session));
    return unused;
}

/* Threads that sign, while the process forks. */
static void threads(void)
{
    pthread_t thread[8];
    int i;
    OK(f->C_Initialize(NULL));
    for (i = 0; i < 8; i++) CHECK(!pthread_create(&thread[i], NULL, signs, NULL));
    for (i = 0; i < 10; i++) {
        int status;
        pid_t child = fork();
        if (!child) {
            alarm(300);
            OK(f->C_Initialize(NULL));
            signs(NULL);
            OK(f->C_Finalize(NULL));
            _exit(0);
        }
        CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    for (i = 0; i < 8; i++) CHECK(!pthread_join(thread[i], NULL));
    OK(f->C_Finalize(NULL));
}

static void interrupted(int unused)
{
    (void)unused;
    stop++;
}

/* A signal every millisecond, whose handler has system calls return EINTR. */
static void signals(void)
{
    struct sigaction action = {0};
    struct itimerval every = {{0, 1000}, {0, 1000}};
    ck_session_handle_t session;
    int i;
    OK(f->C_Initialize(NULL));
    session = open_session();
    action.sa_handler = interrupted;
    CHECK(!sigaction(SIGALRM, &action, NULL));
    CHECK(!setitimer(ITIMER_REAL, &every, NULL));
    for (i = 0; i < 300 || stop < 10; i++) OK(sign(session, find_key(session)));
    memset(&every, 0, sizeof every);
    CHECK(!setitimer(ITIMER_REAL, &every, NULL));
    stop = 0;
    OK(f->C_Finalize(NULL));
}

/* Signs until standard input ends, and prints the codes: the signer may go away meanwhile. SIGPIPE has its default action,
 * which ends the process. */
static void survives(void)
{
    ck_session_handle_t session;
    ck_object_handle_t key;
    fd_set set;
    struct timeval now = {0, 0};
    OK(f->C_Initialize(NULL));
    session = open_session();
    key = find_key(session);
    do {
        printf("0x%lx\n", sign(session, key));
        fflush(stdout);
        FD_ZERO(&set);
        FD_SET(0, &set);
    } while (!select(1, &set, NULL, NULL, &now));
    OK(sign(session, key));
    OK(f->C_Finalize(NULL));
}

static void say(const char *line)
{
    puts(line);
    fflush(stdout);
}

/* Waits for a line of standard input. */
static void next(const char *reached)
{
    say(reached);
    CHECK(getchar() == '\n');
}

/* Logs in with the PIN in the environment. Once told to, lists the slots while there is no signer; and when it is back, is
 * still logged in, with the same session and handles. */
static void stays_logged_in(void)
{
    ck_session_handle_t session;
    struct ck_session_info info;
    ck_object_handle_t key;
    ck_slot_id_t slots[16];
    unsigned long count = 0;
    const char *pin = getenv("PIN");
    CHECK(pin);
    OK(f->C_Initialize(NULL));
    session = open_session();
    OK(f->C_Login(session, CKU_USER, (unsigned char *)pin, strlen(pin)));
    key = find_key(session);
    OK(sign(session, key));
    next("logged in");
    OK(f->C_GetSlotList(1, NULL, &count));
    CHECK(count == 0);
    IS(CKR_DEVICE_ERROR, f->C_FindObjectsInit(session, NULL, 0));
    next("no token");
    OK(f->C_GetSessionInfo(session, &info));
    CHECK(info.state == CKS_RO_USER_FUNCTIONS);
    OK(sign(session, key));
    CHECK(find_key(session) == key);
    OK(f->C_GetSlotList(1, NULL, &count));
    count = 16;
    OK(f->C_GetSlotList(1, slots, &count));
    CHECK(count >= 1 && slots[0] == info.slot_id);
    OK(f->C_GetSessionInfo(session, &info));
    CHECK(info.state == CKS_RO_USER_FUNCTIONS);
    OK(sign(session, key));
    OK(f->C_Finalize(NULL));
}

/* Makes the keys that `searches` looks for, in the vendor's own module: with the PIN in the environment. */
static void makes(void)
{
    static const unsigned char p256[] = {6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7};
    struct ck_mechanism pair = {CKM_EC_KEY_PAIR_GEN, NULL, 0};
    unsigned char yes = 1, id[2];
    char label[8];
    const char *pin = getenv("PIN");
    ck_slot_id_t slots[16];
    unsigned long count = 16;
    ck_session_handle_t session;
    int i;
    CHECK(pin);
    OK(f->C_Initialize(NULL));
    OK(f->C_GetSlotList(1, slots, &count));
    OK(f->C_OpenSession(slots[0], CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session));
    OK(f->C_Login(session, CKU_USER, (unsigned char *)pin, strlen(pin)));
    for (i = 0; i < 1000; i++) {
        struct ck_attribute all[] = {
            {CKA_ID, id, 2},       {CKA_LABEL, label, sprintf(label, "k%d", i)},        {CKA_TOKEN, &yes, 1},
            {CKA_SIGN, &yes, 1},   {CKA_PRIVATE, &yes, 1},
        }, public[] = {all[0], all[1], all[2], {CKA_EC_PARAMS, (void *)p256, sizeof p256}};
        ck_object_handle_t made[2];
        id[0] = i >> 8, id[1] = i & 255;
        OK(f->C_GenerateKeyPair(session, &pair, public, 4, all, 5, made, made + 1));
    }
    OK(f->C_Finalize(NULL));
}

/* One attribute as a program of each kind asks for it: its length first, then its value in too little room and in enough.
 * Prints the value in hexadecimal; - if there is none, and * if nobody is told. */
static void attribute(ck_session_handle_t session, ck_object_handle_t object, unsigned long type, char kind)
{
    unsigned char value[4096], little[1];
    struct ck_attribute wanted = {type, NULL, 0};
    unsigned long i, len;
    ck_rv_t rv = f->C_GetAttributeValue(session, object, &wanted, 1);
    len = wanted.value_len;
    if (rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_ATTRIBUTE_SENSITIVE) {
        CHECK(len == (unsigned long)-1);
        puts(rv == CKR_ATTRIBUTE_SENSITIVE ? "*" : "-");
        return;
    }
    OK(rv);
    if (kind == 'b') CHECK(len == 1);
    if (kind == 'n') CHECK(len == sizeof(unsigned long));
    if (kind == 'm') CHECK(len % sizeof(unsigned long) == 0);
    CHECK(len <= sizeof value);
    if (len > sizeof little) {
        wanted.value = little, wanted.value_len = sizeof little;
        IS(CKR_BUFFER_TOO_SMALL, f->C_GetAttributeValue(session, object, &wanted, 1));
    }
    wanted.value = value, wanted.value_len = sizeof value;
    OK(f->C_GetAttributeValue(session, object, &wanted, 1));
    CHECK(wanted.value_len == len);
    if (kind == 'b') CHECK(value[0] <= 1);
    for (i = 0; i < len; i++) printf("%02x", value[i]);
    puts(len ? "" : "empty");
}

/* All attributes that programs ask for, of all objects; b is CK_BBOOL, n is CK_ULONG, m several of these, and o others.
 * With the PIN in the environment, if there is one. */
static void attributes(void)
{
    static const struct {
        const char *name;
        unsigned long type;
        char kind;
    } all[] = {
        {"TOKEN", 0x1, 'b'}, {"PRIVATE", 0x2, 'b'}, {"MODIFIABLE", 0x170, 'b'}, {"COPYABLE", 0x171, 'b'},
        {"DESTROYABLE", 0x172, 'b'}, {"UNIQUE_ID", 0x4, 'o'}, {"ID", 0x102, 'o'}, {"SUBJECT", 0x101, 'o'},
        {"KEY_TYPE", 0x100, 'n'}, {"START_DATE", 0x110, 'o'}, {"END_DATE", 0x111, 'o'}, {"DERIVE", 0x10c, 'b'},
        {"LOCAL", 0x163, 'b'}, {"KEY_GEN_MECHANISM", 0x166, 'n'}, {"ALLOWED_MECHANISMS", 0x40000600, 'm'},
        {"SENSITIVE", 0x103, 'b'}, {"ALWAYS_SENSITIVE", 0x165, 'b'}, {"EXTRACTABLE", 0x162, 'b'},
        {"NEVER_EXTRACTABLE", 0x164, 'b'}, {"WRAP_WITH_TRUSTED", 0x210, 'b'}, {"ALWAYS_AUTHENTICATE", 0x202, 'b'},
        {"SIGN", 0x108, 'b'}, {"SIGN_RECOVER", 0x109, 'b'}, {"DECRYPT", 0x105, 'b'}, {"UNWRAP", 0x107, 'b'},
        {"VERIFY", 0x10a, 'b'}, {"VERIFY_RECOVER", 0x10b, 'b'}, {"ENCRYPT", 0x104, 'b'}, {"WRAP", 0x106, 'b'},
        {"TRUSTED", 0x86, 'b'}, {"PUBLIC_KEY_INFO", 0x129, 'o'}, {"EC_PARAMS", 0x180, 'o'}, {"EC_POINT", 0x181, 'o'},
        {"MODULUS", 0x120, 'o'}, {"MODULUS_BITS", 0x121, 'n'}, {"PUBLIC_EXPONENT", 0x122, 'o'}, {"VALUE", 0x11, 'o'},
        {"PRIVATE_EXPONENT", 0x123, 'o'}, {"PRIME_1", 0x124, 'o'}, {"ISSUER", 0x81, 'o'}, {"SERIAL_NUMBER", 0x82, 'o'},
        {"CERTIFICATE_TYPE", 0x80, 'n'}, {"CERTIFICATE_CATEGORY", 0x87, 'n'}, {"CHECK_VALUE", 0x90, 'o'},
        {"URL", 0x89, 'o'}, {"JAVA_MIDP_SECURITY_DOMAIN", 0x88, 'n'}, {"VENDOR_DEFINED", 0x80000001, 'o'},
        /* Of other kinds of objects, of PKCS#11 3.2, of NSS and of p11-kit: programs ask for them all the same. */
        {"VALUE_LEN", 0x161, 'n'}, {"PARAMETER_SET", 0x61d, 'n'}, {"ENCAPSULATE", 0x633, 'b'},
        {"DECAPSULATE", 0x634, 'b'}, {"PROFILE_ID", 0x601, 'n'}, {"NAME_HASH_ALGORITHM", 0x8c, 'n'},
        {"HASH_OF_SUBJECT_PUBLIC_KEY", 0x8a, 'o'}, {"HASH_OF_ISSUER_PUBLIC_KEY", 0x8b, 'o'},
        {"NSS_EMAIL", 0xce534352, 'o'}, {"X_DISTRUSTED", 0xd8444764, 'b'},
    };
    ck_session_handle_t session;
    ck_object_handle_t found[64];
    unsigned long count, i, j;
    const char *pin = getenv("PIN");
    OK(f->C_Initialize(NULL));
    session = open_session();
    if (pin) OK(f->C_Login(session, CKU_USER, (unsigned char *)pin, strlen(pin)));
    OK(f->C_FindObjectsInit(session, NULL, 0));
    OK(f->C_FindObjects(session, found, 64, &count));
    OK(f->C_FindObjectsFinal(session));
    for (i = 0; i < count; i++) {
        ck_object_class_t class;
        char label[64] = "";
        struct ck_attribute name[] = {{CKA_CLASS, &class, sizeof class}, {CKA_LABEL, label, sizeof label - 1}};
        OK(f->C_GetAttributeValue(session, found[i], name, 2));
        for (j = 0; j < sizeof all / sizeof *all; j++) {
            printf("%s %s %s ", class == CKO_PRIVATE_KEY ? "private" : class == CKO_PUBLIC_KEY ? "public" : "cert", label,
                   all[j].name);
            attribute(session, found[i], all[j].type, all[j].kind);
        }
    }
    OK(f->C_Finalize(NULL));
}

/* Makes a key that could be used for more than signatures and could leave the token, and one that never could, in the
 * vendor's own module: with the PIN in the environment. */
static void makes_two_kinds(void)
{
    static const unsigned char p384[] = {6, 5, 0x2b, 0x81, 4, 0, 0x22};
    struct ck_mechanism ec = {CKM_EC_KEY_PAIR_GEN, NULL, 0}, rsa = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0};
    unsigned char yes = 1, no = 0, one = 1, two = 2, exponent[] = {1, 0, 1}, subject[] = {0x30, 0};
    unsigned long bits = 2048;
    struct ck_attribute open_public[] = {
        {CKA_TOKEN, &yes, 1},   {CKA_LABEL, "open", 4}, {CKA_ID, &one, 1}, {CKA_VERIFY, &no, 1},
        {CKA_ENCRYPT, &yes, 1}, {CKA_WRAP, &yes, 1},    {CKA_MODULUS_BITS, &bits, sizeof bits},
        {CKA_PUBLIC_EXPONENT, exponent, 3},
    }, open_private[] = {
        {CKA_TOKEN, &yes, 1},     {CKA_LABEL, "open", 4}, {CKA_ID, &one, 1},       {CKA_PRIVATE, &yes, 1},
        {CKA_SENSITIVE, &no, 1},  {CKA_SIGN, &no, 1},     {CKA_EXTRACTABLE, &yes, 1}, {CKA_DECRYPT, &yes, 1},
        {CKA_UNWRAP, &yes, 1},    {CKA_SIGN_RECOVER, &yes, 1}, {CKA_SUBJECT, subject, 2},
    }, closed_public[] = {
        {CKA_TOKEN, &yes, 1}, {CKA_LABEL, "closed", 6}, {CKA_ID, &two, 1}, {CKA_EC_PARAMS, (void *)p384, sizeof p384},
        {CKA_VERIFY, &yes, 1},
    }, closed_private[] = {
        {CKA_TOKEN, &yes, 1},    {CKA_LABEL, "closed", 6}, {CKA_ID, &two, 1},  {CKA_PRIVATE, &yes, 1},
        {CKA_SENSITIVE, &yes, 1}, {CKA_SIGN, &yes, 1},     {CKA_EXTRACTABLE, &no, 1}, {CKA_DERIVE, &yes, 1},
        {CKA_WRAP_WITH_TRUSTED, &yes, 1},
    };
    const char *pin = getenv("PIN");
    ck_slot_id_t slots[16];
    unsigned long count = 16;
    ck_session_handle_t session;
    ck_object_handle_t made[2];
    CHECK(pin);
    OK(f->C_Initialize(NULL));
    OK(f->C_GetSlotList(1, slots, &count));
    OK(f->C_OpenSession(slots[0], CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session));
    OK(f->C_Login(session, CKU_USER, (unsigned char *)pin, strlen(pin)));
    OK(f->C_GenerateKeyPair(session, &rsa, open_public, 8, open_private, 11, made, made + 1));
    OK(f->C_GenerateKeyPair(session, &ec, closed_public, 5, closed_private, 9, made, made + 1));
    OK(f->C_Finalize(NULL));
}

/* How many objects fit, or -1 if the signer is away. */
static long find(ck_session_handle_t session, struct ck_attribute *template, unsigned long len)
{
    ck_object_handle_t found[300];
    unsigned long count;
    long all = 0;
    ck_rv_t rv = f->C_FindObjectsInit(session, template, len);
    if (rv == CKR_DEVICE_ERROR) return -1;
    OK(rv);
    do {
        OK(f->C_FindObjects(session, found, 300, &count));
        all += count;
    } while (count);
    OK(f->C_FindObjectsFinal(session));
    return all;
}

/* Searches in a token that has 1,000 P-256 keys, k0 to k999, with their numbers in two bytes as CKA_ID. Prints a line for
 * each round of them until standard input ends: all, or away as soon as a search finds no signer. */
static void searches(void)
{
    ck_session_handle_t session;
    ck_object_class_t private = CKO_PRIVATE_KEY, public = CKO_PUBLIC_KEY, data = CKO_DATA;
    ck_key_type_t ec = CKK_EC, rsa = CKK_RSA;
    unsigned char id[] = {731 >> 8, 731 & 255}, yes = 1, no = 0, point[67];
    struct ck_attribute is_private = {CKA_CLASS, &private, sizeof private}, is_public = {CKA_CLASS, &public, sizeof public},
                        is_ec = {CKA_KEY_TYPE, &ec, sizeof ec}, has_id = {CKA_ID, id, 2}, signs = {CKA_SIGN, &yes, 1},
                        has_point = {CKA_EC_POINT, point, sizeof point};
    struct {
        long fit;
        unsigned long len;
        struct ck_attribute template[4];
    } all[] = {
        {2000, 0, {{0}}},
        {1000, 1, {is_private}},
        {1000, 3, {is_public, is_ec, {CKA_TOKEN, &yes, 1}}},
        {1000, 2, {is_private, signs}},
        {2, 1, {has_id}},
        {1, 4, {is_private, is_ec, has_id, {CKA_LABEL, "k731", 4}}},
        {2, 1, {{CKA_LABEL, "k7", 2}}},
        {1, 3, {is_public, has_id, has_point}},
        {0, 2, {{CKA_LABEL, "k730", 4}, has_point}},
        {0, 2, {has_id, {CKA_LABEL, "k732", 4}}},
        {0, 1, {{CKA_LABEL, "k1000", 5}}},
        {0, 2, {is_private, {CKA_KEY_TYPE, &rsa, sizeof rsa}}},
        {0, 1, {{CKA_CLASS, &data, sizeof data}}},
        {0, 1, {{CKA_TOKEN, &no, 1}}},
    };
    ck_object_handle_t key;
    unsigned long count;
    fd_set set;
    struct timeval now = {0, 0};
    size_t i;
    alarm(300);
    OK(f->C_Initialize(NULL));
    session = open_session();
    OK(f->C_FindObjectsInit(session, all[5].template, 4));
    OK(f->C_FindObjects(session, &key, 1, &count));
    CHECK(count == 1);
    OK(f->C_FindObjectsFinal(session));
    OK(f->C_GetAttributeValue(session, key, &has_point, 1));
    do {
        int away = 0;
        for (i = 0; i < sizeof all / sizeof *all; i++) {
            long found = find(session, all[i].template, all[i].len);
            if (found == -1) {
                if (!away++) say("away");
            }
            /* All or an error, never some. */
            else if (found != all[i].fit) fail(__LINE__, "a search", i << 16 | found);
        }
        if (!away) say("all");
        FD_ZERO(&set);
        FD_SET(0, &set);
    } while (!select(1, &set, NULL, NULL, &now));
    OK(f->C_Finalize(NULL));
}

/* Looks for one of 1,000 keys by its public key alone, as often as it is told to: prints how many objects fit. */
static void searches_by_point(void)
{
    ck_session_handle_t session;
    ck_object_class_t private = CKO_PRIVATE_KEY;
    unsigned char point[67], info[91];
    struct ck_attribute name[] = {{CKA_CLASS, &private, sizeof private}, {CKA_LABEL, "k731", 4}},
                        value[] = {{CKA_EC_POINT, point, sizeof point}, {CKA_PUBLIC_KEY_INFO, info, sizeof info}};
    ck_object_handle_t key;
    unsigned long count;
    OK(f->C_Initialize(NULL));
    session = open_session();
    OK(f->C_FindObjectsInit(session, name, 2));
    OK(f->C_FindObjects(session, &key, 1, &count));
    CHECK(count == 1);
    OK(f->C_FindObjectsFinal(session));
    OK(f->C_GetAttributeValue(session, key, value, 2));
    next("found");
    CHECK(find(session, value, 1) == 2);
    CHECK(find(session, value + 1, 1) == 2);
    point[66] ^= 1;
    CHECK(find(session, value, 1) == 0);
    OK(sign(session, key));
    next("searched");
    OK(f->C_Finalize(NULL));
}

static void *one_of_many(void *unused)
{
    ck_session_handle_t session = open_session();
    ck_object_handle_t key = find_key(session);
    while (!stop) {
        ck_rv_t rv = sign(session, key);
        if (rv != CKR_DEVICE_ERROR) OK(rv);
        CHECK(write(1, rv == CKR_OK ? "." : "x", 1) == 1);
        if (rv != CKR_OK) usleep(10000);
    }
    return unused;
}

/* Four threads that sign until standard input ends, and print a character for each time: a dot, or x when there is no
 * signer. */
static void crowd(void)
{
    pthread_t thread[4];
    int i;
    alarm(300);
    OK(f->C_Initialize(NULL));
    for (i = 0; i < 4; i++) CHECK(!pthread_create(&thread[i], NULL, one_of_many, NULL));
    while (getchar() != EOF) {}
    stop = 1;
    for (i = 0; i < 4; i++) CHECK(!pthread_join(thread[i], NULL));
    OK(f->C_Finalize(NULL));
}

/* Has something signed that the policy refuses, until standard input ends. Prints how often, and in how many milliseconds
 * since the first one. */
static void refused(void)
{
    ck_session_handle_t session;
    ck_object_handle_t key;
    struct timespec start, end;
    fd_set set;
    struct timeval pause;
    int count = 0;
    OK(f->C_Initialize(NULL));
    session = open_session();
    key = find_key(session);
    clock_gettime(CLOCK_MONOTONIC, &start);
    do {
        /* Some hundred a second: the signer throttles a user who sends more than a thousand. */
        pause.tv_sec = 0;
        pause.tv_usec = 3000;
        IS(CKR_KEY_FUNCTION_NOT_PERMITTED, sign(session, key));
        count++;
        FD_ZERO(&set);
        FD_SET(0, &set);
    } while (!select(1, &set, NULL, NULL, &pause));
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%d %ld\n", count, (end.tv_sec - start.tv_sec) * 1000 + (end.tv_nsec - start.tv_nsec) / 1000000);
    OK(f->C_Finalize(NULL));
}

/* Of a module that was built so that C_SeedRandom panics. */
static void panics(void)
{
    ck_session_handle_t session;
    OK(f->C_Initialize(NULL));
    session = open_session();
    IS(CKR_GENERAL_ERROR, f->C_SeedRandom(session, message, 1));
    OK(sign(session, find_key(session)));
    OK(f->C_Finalize(NULL));
}

/* C_GetInterfaceList and C_GetInterface, before C_Initialize. */
static void interfaces(void)
{
    struct interface { unsigned char *name; struct ck_version *list; unsigned long flags; } all[3], *one;
    ck_rv_t (*get_list)(struct interface *, unsigned long *);
    ck_rv_t (*get)(const char *, struct ck_version *, struct interface **, unsigned long);
    struct ck_version old = {2, 40}, unknown = {3, 2};
    unsigned long count = 1;
    *(void **)&get_list = dlsym(library, "C_GetInterfaceList");
    *(void **)&get = dlsym(library, "C_GetInterface");
    CHECK(get_list && get);
    IS(CKR_ARGUMENTS_BAD, get_list(NULL, NULL));
    IS(CKR_BUFFER_TOO_SMALL, get_list(all, &count));
    CHECK(count == 2);
    OK(get_list(NULL, &count));
    count = 3;
    OK(get_list(all, &count));
    CHECK(count == 2 && all[0].list->major == 3 && all[1].list->major == 2 && all[1].list->minor == 40);
    OK(get(NULL, NULL, &one, 0));
    CHECK(one->list == all[0].list && !strcmp((char *)one->name, "PKCS 11"));
    OK(get("PKCS 11", &old, &one, 0));
    CHECK(one->list == all[1].list);
    IS(CKR_ARGUMENTS_BAD, get("PKCS 11", &unknown, &one, 0));
    IS(CKR_ARGUMENTS_BAD, get("Vendor", NULL, &one, 0));
    IS(CKR_ARGUMENTS_BAD, get(NULL, NULL, &one, 1));
    IS(CKR_ARGUMENTS_BAD, get(NULL, NULL, NULL, 0));
}

/* By the name of its file. */
static void is_signer(void)
{
    struct ck_info info;
    IS(CKR_FUNCTION_FAILED, f->C_Initialize(NULL));
    IS(CKR_CRYPTOKI_NOT_INITIALIZED, f->C_GetInfo(&info));
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } all[] = {{"life", life},       {"buffers", buffers},   {"forks", forks},  {"threads", threads},
               {"signals", signals}, {"survives", survives}, {"panics", panics},
               {"refused", refused}, {"is_signer", is_signer},
               {"interfaces", interfaces}, {"stays_logged_in", stays_logged_in},
               {"makes", makes}, {"searches", searches}, {"crowd", crowd},
               {"attributes", attributes}, {"makes_two_kinds", makes_two_kinds},
               {"searches_by_point", searches_by_point}};
    size_t i;
    if (argc != 3) return 2;
    path = argv[1];
    load();
    for (i = 0; i < sizeof all / sizeof *all; i++)
        if (!strcmp(argv[2], all[i].name)) {
            all[i].run();
            return 0;
        }
    return 2;
}
