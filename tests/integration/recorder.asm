; A guest that says on COM1 what its keyboard and its pointer tell it, as they tell it.
;
; R once it listens. Then for each byte of the keyboard: K and the byte (scan codes, set 1). For each
; move of the pointer: P, buttons (20 left, 10 right, 08 middle), x and y (0 to FFFF), wheel; all in
; hexadecimal, a line each. Its pointer is VMware's, which QEMU's machines have: absolute, and
; simple enough for a boot sector. Source: QEMU's hw/i386/vmmouse.c.

        bits 16
        org 0x7c00

COM1    equ 0x3f8
MAGIC   equ 0x564d5868
PORT    equ 0x5658
DATA    equ 39
STATUS  equ 40
COMMAND equ 41

start:  cli
        xor ax, ax
        mov ds, ax
        mov ss, ax
        mov sp, 0x7c00
        mov word [9 * 4], key   ; the keyboard's interrupt is ours, not the BIOS's
        mov [9 * 4 + 2], ax
        mov dx, COM1 + 1        ; no UART interrupts, 8n1
        out dx, al
        mov dx, COM1 + 3
        mov al, 3
        out dx, al
        mov ax, 0x0003          ; text, and no cursor that blinks
        int 0x10
        mov ah, 0x01
        mov cx, 0x2000
        int 0x10

        mov ebx, 0x45414552     ; the pointer: on, absolute
        mov cx, COMMAND
        call vmware
        mov ebx, 1
        mov cx, DATA
        call vmware
        mov ebx, 0x53424152
        mov cx, COMMAND
        call vmware

        mov al, 'R'
        call say
        mov al, 10
        call say

wait_:  sti
        hlt
.more:  cli
        call take               ; bytes of a mouse stand in the keyboard's way
        mov cx, STATUS
        call vmware
        cmp ax, 4
        jb wait_
        mov ebx, 4
        mov cx, DATA
        call vmware
        push edx                ; wheel, y, x, buttons
        push ecx
        push ebx
        push eax
        mov al, 'P'
        call say
        mov bp, 4
.word:  mov al, ' '
        call say
        pop ebx
        mov al, bh
        call hex
        mov al, bl
        call hex
        dec bp
        jnz .word
        mov al, 10
        call say
        jmp .more

key:    pushad
        call take
        mov al, 0x20
        out 0x20, al
        popad
        iret

take:   in al, 0x64             ; the controller: anything there?
        test al, 1
        jz .none
        mov ah, al
        in al, 0x60
        test ah, 0x20           ; of the mouse: that is not how we hear it
        jnz take
        push ax
        mov al, 'K'
        call say
        mov al, ' '
        call say
        pop ax
        call hex
        mov al, 10
        call say
        jmp take
.none:  ret

vmware: mov eax, MAGIC
        movzx ecx, cx
        mov edx, PORT
        in eax, dx
        ret

hex:    push ax
        shr al, 4
        call .digit
        pop ax
        and al, 15
.digit: cmp al, 10
        sbb al, 0x69            ; '0' to '9', 'A' to 'F'
        das
say:    push dx
        mov ah, al
        mov dx, COM1 + 5
.full:  in al, dx
        test al, 0x20
        jz .full
        mov dx, COM1
        mov al, ah
        out dx, al
        pop dx
        ret

        times 510 - ($ - $$) db 0
        dw 0xaa55
