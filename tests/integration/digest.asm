; A guest that shows the pictures on its disk, 320x200 in 256 colours: the first when it has booted,
; which it says on COM1 as the demo guest does, and the next at each key.

        bits 16
        org 0x7c00

COM1    equ 0x3f8

start:  xor ax, ax
        mov ds, ax
        mov ss, ax
        mov sp, 0x7c00
        sti
        cld
        mov [drive], dl
        mov ax, 0x0013
        int 0x10
        call show

        mov bx, banner
.next:  mov al, [bx]
        inc bx
        test al, al
        jz key
        mov ah, al
        mov dx, COM1 + 5
.full:  in al, dx
        test al, 0x20
        jz .full
        mov dx, COM1
        mov al, ah
        out dx, al
        jmp .next

key:    xor ah, ah
        int 0x16
        add word [place], 125
        call show
        jmp key

show:   mov ah, 0x42
        mov dl, [drive]
        mov si, packet
        int 0x13
        ret

drive:  db 0
banner: db BANNER, 13, 10, 0
packet: db 16, 0
        dw 125                  ; sectors: 64,000 pixels
        dw 0, 0xa000
place:  dq 1

        times 510 - ($ - $$) db 0
        dw 0xaa55
