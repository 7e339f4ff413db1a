//! What is known of each kind of HSM: one table. [`crate::hsm`] looks things up in it.

/// A kind of HSM.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Profile {
    /// For `--hsm`.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// The PKCS#11 module below a library folder, the best one first.
    pub(crate) modules: &'static [&'static str],
    /// What brings the module: packages of Debian and of Yocto.
    pub(crate) packages: Packages,
    pub(crate) environment: &'static [Variable],
    pub(crate) nodes: &'static [Node],
    pub(crate) usb: &'static [Usb],
    pub(crate) services: &'static [Service],
    /// Of the signer, in /usr/lib/tedge-p11-server.
    pub(crate) drop_in: &'static str,
    /// Who makes the token.
    pub(crate) token: Made,
    /// Who makes the key.
    pub(crate) key: Made,
    /// What to know of its keys and PINs.
    pub(crate) keys: &'static str,
}

/// Who makes something on an HSM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    /// This program, by PKCS#11.
    Here,
    /// The vendor's: what to do.
    By(&'static str),
    /// It is there from the factory, or is written once and for ever: what to do where it is not. Such a token has no PIN.
    Before(&'static str),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Packages {
    pub(crate) debian: &'static str,
    pub(crate) yocto: &'static str,
}

/// A variable that the module reads, as the signer's drop-in sets it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    pub(crate) value: &'static str,
    /// Whether the value is a path; if nothing is there, the module's own default is better.
    pub(crate) is_path: bool,
}

/// A device node.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) path: &'static str,
    /// Who opens it: the signer, by the first of `groups`, or a service of the HSM's own.
    pub(crate) opened_by: OpenedBy,
    /// Whether it is there without the HSM, too: a bus.
    pub(crate) is_bus: bool,
    /// Those that udev rules give it to; the drop-in has the first.
    pub(crate) groups: &'static [&'static str],
    /// One of these is in the udev rule for it.
    pub(crate) rule: &'static [&'static str],
    /// What brings the rule.
    pub(crate) rule_from: &'static str,
    pub(crate) if_missing: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenedBy {
    Signer,
    TeeSupplicant,
}

/// A USB device, in hexadecimal as sysfs has it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Usb {
    pub(crate) vendor: &'static str,
    /// Any if empty.
    pub(crate) product: &'static str,
}

/// What must run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Pcscd,
    TeeSupplicant,
}

pub(crate) static PROFILES: [Profile; 8] = [
    Profile {
        name: "tpm2",
        title: "TPM 2.0 by tpm2-pkcs11",
        modules: &[
            "pkcs11/libtpm2_pkcs11.so",
            "libtpm2_pkcs11.so.1",
            "libtpm2_pkcs11.so.0",
            "libtpm2_pkcs11.so",
        ],
        packages: Packages {
            debian: "libtpm2-pkcs11-1 libtss2-tcti-device0 tpm-udev",
            yocto: "tpm2-pkcs11 libtss2-tcti-device (meta-tpm)",
        },
        environment: &[
            Variable {
                name: "TPM2_PKCS11_STORE",
                value: "/var/lib/tedge-p11-server/tpm2_pkcs11",
                is_path: true,
            },
            Variable {
                name: "TPM2_PKCS11_TCTI",
                value: "device:/dev/tpmrm0",
                is_path: false,
            },
            Variable {
                name: "TPM2_PKCS11_BACKEND",
                value: "esysdb",
                is_path: false,
            },
            Variable {
                name: "TSS2_LOG",
                value: "all+ERROR",
                is_path: false,
            },
        ],
        nodes: &[Node {
            path: "/dev/tpmrm0",
            opened_by: OpenedBy::Signer,
            is_bus: false,
            groups: &["tss"],
            rule: &["tpmrm"],
            rule_from: "tpm-udev (Debian) or tpm2-tss (Yocto)",
            if_missing: "turn the TPM on in the firmware; the kernel needs CONFIG_TCG_TPM and the driver \
                         of this TPM (CONFIG_TCG_CRB, CONFIG_TCG_TIS, CONFIG_TCG_TIS_SPI); dmesg | grep -i \
                         tpm tells more",
        }],
        usb: &[],
        services: &[],
        drop_in: "tpm2.conf",
        token: Made::Here,
        key: Made::Here,
        keys: "EC P-256 and P-384, RSA 2048, and what else the TPM has; no Ed25519. The keys are files in \
               TPM2_PKCS11_STORE, sealed by this TPM: keep the folder. Wrong PINs add to the lockout of \
               the whole TPM: tpm2_getcap properties-variable shows the counter, tpm2_dictionarylockout \
               -c clears it.",
    },
    Profile {
        name: "optee",
        title: "OP-TEE's PKCS#11 trusted application in Arm TrustZone",
        modules: &["libckteec.so.0", "libckteec.so"],
        packages: Packages {
            debian: "libckteec0t64 tee-supplicant",
            yocto: "optee-client (meta-arm), with the PKCS#11 trusted application in optee-os",
        },
        environment: &[],
        nodes: &[
            Node {
                path: "/dev/tee0",
                opened_by: OpenedBy::Signer,
                is_bus: false,
                groups: &["tee", "teeclnt"],
                rule: &["\"tee[", "\"tee0", "\"tee*"],
                rule_from: "optee-client (Yocto); Debian has none, so write one: KERNEL==\"tee[0-9]*\", \
                            MODE=\"0660\", GROUP=\"tee\"",
                if_missing: "the kernel needs CONFIG_TEE and CONFIG_OPTEE (modules tee and optee), and the \
                             firmware OP-TEE; dmesg | grep -i optee tells more",
            },
            Node {
                path: "/dev/teepriv0",
                opened_by: OpenedBy::TeeSupplicant,
                is_bus: false,
                groups: &["teepriv", "tee"],
                rule: &["teepriv"],
                rule_from: "optee-client (Yocto); a tee-supplicant that runs as root needs none",
                if_missing: "it comes with /dev/tee0",
            },
        ],
        usb: &[],
        services: &[Service::TeeSupplicant],
        drop_in: "optee.conf",
        token: Made::Here,
        key: Made::Here,
        keys: "EC P-256, P-384 and P-521, RSA 2048 to 4096; Ed25519 works from OP-TEE 4.10 on. There are \
               three slots, so at most three tokens, unless the trusted application is built with \
               another CFG_PKCS11_TA_TOKEN_COUNT. Without tee-supplicant a call that needs the \
               storage waits for ever, and all others behind it; without RPMB, who has root can put back old \
               storage.",
    },
    Profile {
        name: "yubikey-piv",
        title: "YubiKey with PIV, by OpenSC or ykcs11",
        modules: OPENSC_OR_YKCS11,
        packages: Packages {
            debian: "opensc-pkcs11 pcscd libccid",
            yocto: "opensc pcsc-lite ccid (meta-oe)",
        },
        environment: &[],
        nodes: &[],
        usb: &[Usb {
            vendor: "1050",
            product: "",
        }],
        services: &[Service::Pcscd],
        drop_in: "pcscd.conf",
        token: PIV,
        key: PIV,
        keys: "EC P-256 and P-384, RSA 2048 (3072 and 4096 from firmware 5.7 on). Keys are made with \
               `ykman piv keys generate --algorithm ECCP256 --pin-policy ONCE --touch-policy NEVER 9a \
               public.pem`, with a certificate in the same slot; OpenSC can't make them. Use slot 9a: the \
               key in 9c asks for the PIN before every signature (CKA_ALWAYS_AUTHENTICATE), and a touch \
               policy for a finger. Three wrong PINs lock it; the PUK resets that: ykman piv access \
               unblock-pin.",
    },
    Profile {
        name: "nitrokey-hsm2",
        title: "Nitrokey HSM 2 or SmartCard-HSM, by OpenSC",
        modules: OPENSC,
        packages: Packages {
            debian: "opensc-pkcs11 opensc pcscd libccid",
            yocto: "opensc pcsc-lite ccid (meta-oe)",
        },
        environment: &[],
        nodes: &[],
        usb: &[
            Usb {
                vendor: "20a0",
                product: "4230",
            },
            Usb {
                vendor: "04e6",
                product: "5817",
            },
        ],
        services: &[Service::Pcscd],
        drop_in: "pcscd.conf",
        token: Made::By(
            "SO_PIN=$(cat so-pin) PIN=$(cat pin) sc-hsm-tool --initialize --so-pin env:SO_PIN --pin env:PIN, which \
             erases it; then give --pin-file pin",
        ),
        key: Made::Here,
        keys: "EC P-256, P-384 and P-521, RSA 2048 to 4096. It is initialised once, by `sc-hsm-tool \
               --initialize --so-pin 16_HEX_DIGITS --pin PIN`, not by tedge-hsm init; the SO PIN has 16 \
               hexadecimal digits and 15 tries, after which the device is lost. Three wrong PINs lock the \
               user PIN; the SO PIN resets it.",
    },
    Profile {
        name: "softhsm",
        title: "SoftHSM2, for development only: its keys are files",
        modules: &["softhsm/libsofthsm2.so", "libsofthsm2.so"],
        packages: Packages {
            debian: "softhsm2",
            yocto: "softhsm (meta-oe)",
        },
        environment: &[Variable {
            name: "SOFTHSM2_CONF",
            value: "/usr/lib/tedge-p11-server/softhsm2.conf",
            is_path: true,
        }],
        nodes: &[],
        usb: &[],
        services: &[],
        drop_in: "softhsm.conf",
        token: Made::Here,
        key: Made::Here,
        keys: "EC P-256, P-384 and P-521, RSA, Ed25519. Who can read directories.tokendir of the file \
               SOFTHSM2_CONF has the keys.",
    },
    Profile {
        name: "atecc608",
        title: "Microchip ATECC608 by cryptoauthlib; by documents only",
        modules: &["libcryptoauth.so.3", "libcryptoauth.so"],
        packages: Packages {
            debian: "none: build cryptoauthlib with ATCA_PKCS11 and ATCA_HAL_I2C",
            yocto: "none of ours: a recipe of cryptoauthlib with the same options",
        },
        environment: &[],
        nodes: &[I2C],
        usb: &[],
        services: &[],
        drop_in: "atecc608.conf",
        token: Made::Before(
            "provision the element, and name its address in /var/lib/cryptoauthlib/0.conf; see docs/hsm/atecc608.md",
        ),
        key: Made::Before(
            "name its slot in /var/lib/cryptoauthlib/0.conf (object = private,device,0), and give that name by --key",
        ),
        keys: "EC P-256 only, made at the factory. No PIN: whoever may open the bus can sign. A key that 0.conf names can be \
               neither deleted nor replaced. The element has one session, so clients take turns.",
    },
    Profile {
        name: "se05x",
        title: "NXP SE05x by NXP's PKCS#11 module; by documents only",
        modules: &["libsss_pkcs11.so"],
        packages: Packages {
            debian: "none: build NXP's se05x-pkcs11 with CMAKE_INSTALL_PREFIX=/usr",
            yocto: "none of ours: a recipe of NXP's se05x-pkcs11",
        },
        environment: &[Variable {
            name: "EX_SSS_BOOT_SSS_PORT",
            value: "/dev/i2c-1:0x48",
            is_path: false,
        }],
        nodes: &[I2C],
        usb: &[],
        services: &[],
        drop_in: "se05x.conf",
        token: Made::Before(
            "see the element's enable pin, the bus and EX_SSS_BOOT_SSS_PORT; see docs/hsm/se05x.md",
        ),
        key: Made::Before(
            "make it: pkcs11-tool --module libsss_pkcs11.so --keypairgen --key-type EC:prime256v1 --label sss:0xEF000001, \
             and give that label by --key",
        ),
        keys: "EC P-256, P-384 and P-521, RSA. No PIN: whoever may open the bus can sign. A label is sss: and the key's number \
               in hexadecimal. Through OP-TEE (CFG_NXP_SE05X) it is --hsm optee.",
    },
    Profile {
        name: "rpi-otp",
        title: "the key in a Raspberry Pi's OTP by rpifwcrypto-pkcs11: no HSM; by documents only",
        modules: &["pkcs11/rpifwcrypto-pkcs11.so", "rpifwcrypto-pkcs11.so"],
        packages: Packages {
            debian: "none: build rpifwcrypto-pkcs11",
            yocto: "none of ours: a recipe of rpifwcrypto-pkcs11",
        },
        environment: &[],
        nodes: &[Node {
            path: "/dev/vcio",
            opened_by: OpenedBy::Signer,
            is_bus: true,
            groups: &["video"],
            rule: &["vcio"],
            rule_from: "Raspberry Pi OS; or write one: KERNEL==\"vcio\", MODE=\"0660\", GROUP=\"video\"",
            if_missing: "this is no Raspberry Pi, or the kernel lacks the firmware's mailbox (vcio)",
        }],
        usb: &[],
        services: &[],
        drop_in: "rpi-otp.conf",
        token: Made::Before(
            "write the key into the OTP, once and for ever: rpi-fw-crypto; see docs/hsm/rpi-otp.md",
        ),
        key: Made::Before(
            "write it into the OTP, once and for ever (rpi-fw-crypto), and give the label that list-keys shows by --key",
        ),
        keys: "One EC P-256 key, written once. No PIN. Without lock_device_private_key=1 and signed boot, group video can read \
               the key.",
    },
];

/// The first bus that programs may use, as on a Raspberry Pi.
const I2C: Node = Node {
    path: "/dev/i2c-1",
    opened_by: OpenedBy::Signer,
    is_bus: true,
    groups: &["i2c"],
    rule: &["\"i2c-", "i2c-dev"],
    rule_from: "i2c-tools (Debian) or Raspberry Pi OS; or write one: KERNEL==\"i2c-[0-9]*\", MODE=\"0660\", GROUP=\"i2c\"",
    if_missing: "turn the bus on (a Raspberry Pi: dtparam=i2c_arm=on); the kernel needs CONFIG_I2C_CHARDEV (module i2c-dev); \
                 for another bus make a drop-in of your own",
};

const PIV: Made = Made::By(
    "plug the card in; its key is made by ykman piv keys generate --algorithm ECCP256 --pin-policy ONCE \
     --touch-policy NEVER 9a public.pem, and needs a certificate in the same slot: ykman piv certificates generate \
     --subject CN=device 9a public.pem",
);
const OPENSC: &[&str] = &["opensc-pkcs11.so", "pkcs11/opensc-pkcs11.so"];
const OPENSC_OR_YKCS11: &[&str] = &[
    "opensc-pkcs11.so",
    "pkcs11/opensc-pkcs11.so",
    "libykcs11.so.2",
    "libykcs11.so",
];
